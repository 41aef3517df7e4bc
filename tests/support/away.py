"""A storage that is there or not, as a test says."""

from __future__ import annotations

from falcon_mnist.storage.files import LocalFolder, StorageUnavailableError, Written


class AwayFolder(LocalFolder):
    """A folder that is unavailable for the next `failures` requests."""

    failures = 0

    def put(self, name: str, data: bytes) -> Written:
        self._fail()
        return super().put(name, data)

    def get(self, name: str, expected: Written) -> bytes:
        self._fail()
        return super().get(name, expected)

    def delete(self, name: str) -> None:
        self._fail()
        super().delete(name)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailableError("the secret place does not answer")
