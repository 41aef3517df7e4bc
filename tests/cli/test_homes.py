"""A home that cannot be used is named, with the variable that names another."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import forking
import pytest
from asking import PATIENCE
from checking_client import Client
from commands import against
from server_process import environment

from falcon_mnist.app import create_app
from falcon_mnist.cli.complaints import sentence_of
from falcon_mnist.cli.doctor import examine
from falcon_mnist.settings import Settings, SettingsError


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("train", "--epochs", "1")], ids=lambda it: it[0])
def test_a_home_that_cannot_be_made(command: tuple[str, ...], digits: Path) -> None:
    home = Path("/proc/here")  # where nobody can write, not even root
    ended = forking.run(*command, env=environment(home, dataset=digits), timeout=PATIENCE)
    assert ended.returncode == 1
    said = f"No such file or directory ({home}): name a home that can be written with FALCON_MNIST_HOME; it is {home}"
    assert f"falcon-mnist: {said}" in " ".join(ended.stderr.split())


@pytest.mark.parametrize("storage", ["file", "file/below", "gone", "used"])
def test_a_storage_that_cannot_be_used_is_refused_at_start_and_found_by_doctor(tmp_path: Path, storage: str) -> None:
    fault = tmp_path / {"file/below": "file", "used": "used/checkpoints"}.get(storage, storage)
    fault.parent.mkdir(exist_ok=True)
    if storage == "gone":
        fault.symlink_to("nothing")
    else:
        fault.touch()
    settings = Settings(home=tmp_path / "home", storage_url=tmp_path / storage, dataset="synthetic")
    with pytest.raises(SettingsError) as refused:
        create_app(settings)
    said = f"the storage {tmp_path / storage} cannot be used ({fault} is not a folder)"
    advice = "name a folder that can be written in FALCON_MNIST_STORAGE_URL"
    assert str(refused.value) == f"{said}: {advice}"
    findings = [each for each in examine(settings, progress=lambda *_: None) if each.subject == "storage"]
    assert findings == [("storage", said, advice)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FALCON_MNIST_HOME", str(tmp_path))
    advice = f"free some space, or name a home on another disk with FALCON_MNIST_HOME; it is {tmp_path}"
    assert sentence_of(OSError(number, os.strerror(number))) == f"{os.strerror(number)}: {advice}"


@pytest.mark.usefixtures("trained")  # so that there is a run to list
def test_a_full_output_is_not_the_homes_fault(client: Client, digits: Path, tmp_path: Path) -> None:
    variables = against(client, tmp_path, FALCON_MNIST_DATASET=str(digits))
    for arguments in (["--version"], ["recipes"], ["digits"], ["runs"]):
        with open("/dev/full", "wb") as full, (tmp_path / "said").open("wb") as said:
            files = (None, full.fileno(), said.fileno())
            process = forking.Program(forking.COMMAND, *arguments, env=variables, files=files)
            assert process.wait(PATIENCE) == 1, arguments
        sentence = "falcon-mnist: No space left on device (standard output): free some space\n"
        assert (tmp_path / "said").read_text() == sentence, arguments


def test_what_is_not_about_the_home_says_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FALCON_MNIST_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("FALCON_MNIST_WORKERS", "many")  # wrong, and nothing that this is about
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", "picture.png")
    assert sentence_of(error) == "No such file or directory (picture.png)"
