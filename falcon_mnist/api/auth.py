"""Who may ask: bearer tokens, the access that each operation declares, and the middleware that compares them.

Tokens are compared in constant time, and read again when their file is replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import secrets
import stat
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import falcon

from falcon_mnist.api import token_rules
from falcon_mnist.api.errors import Problem
from falcon_mnist.clock import SYSTEM_CLOCK, Clock
from falcon_mnist.settings import Settings, SettingsError
from falcon_mnist.storage.disk import SYSTEM_DISK, Disk
from falcon_mnist.storage.private import make_private

log = logging.getLogger(__name__)

# The access that an operation declares; the last two are also the scopes of tokens.
PUBLIC, READ, WRITE = "public", "read", "write"

# Unknown paths below these answer 401 without a token, not 404: so nobody without one learns which paths exist.
_PROTECTED = ("api", "v2")

# The token file is checked for changes at most this often. Checking at each request would cost a system call, during
# which another thread takes the GIL.
LOOK_SECONDS = 0.1


class Token(NamedTuple):
    """A token, what it may do, and a name for logs that does not reveal it: its line or number."""

    secret: str
    scope: str
    name: str


class Holder(NamedTuple):
    """Who sent a valid token."""

    scope: str
    name: str


class Tokens:
    """The tokens of the settings: from the environment, from a file, or from the one made at first start.

    `weaknesses` are sentences about them, for `token_rules.check_address`; they are also logged.
    """

    weaknesses: list[str]

    def __init__(self, settings: Settings, *, disk: Disk = SYSTEM_DISK, clock: Clock = SYSTEM_CLOCK) -> None:
        """Raises `SettingsError` if the file of tokens cannot be used."""
        self._lock = threading.Lock()
        self._file: Path | None = None
        self._seen: object = None
        self._clock = clock
        self._next_look = 0.0
        if settings.tokens:
            self._use(_of_environment(settings))
            return
        self._file = settings.tokens_file or _made(settings.made_token, disk)
        self._seen = _state(self._file)
        try:
            self._use(_read(self._file))
        except (OSError, ValueError) as error:
            raise _unusable(self._file, error) from None

    def _use(self, tokens: Iterable[Token]) -> None:
        tokens = list(tokens)
        self._holders = {_digest(token.secret): Holder(token.scope, token.name) for token in tokens}
        self.weaknesses = token_rules.weaknesses([token.secret for token in tokens], self._file)
        for sentence in self.weaknesses:
            log.warning("%s", sentence)

    def holder(self, token: str) -> Holder | None:
        """Whose token this is, None if it is not valid. Takes the same time for every token."""
        self._reread_if_replaced()
        digest = _digest(token)
        found = None
        for known, holder in self._holders.items():
            if hmac.compare_digest(known, digest):
                found = holder
        return found

    def admits(self, authorization: str) -> bool:
        """Whether the value of an `Authorization` header carries a valid token of any scope."""
        return self.holder(bearer(authorization)) is not None

    def _reread_if_replaced(self) -> None:
        """If the new file cannot be used, the tokens stay as they are, and one line in the log says so."""
        if self._file is None or self._clock.monotonic() < self._next_look:
            return
        self._next_look = self._clock.monotonic() + LOOK_SECONDS
        if (state := _state(self._file)) == self._seen:
            return
        with self._lock:
            if state == self._seen:
                return
            self._seen = state
            try:
                # At a start it may be a pipe, of a shell's <(command); by now requests would wait for its end.
                if not stat.S_ISREG(self._file.stat().st_mode):
                    raise ValueError("it is not a regular file")
                self._use(_read(self._file))
                log.info("tokens were read again")
            except (OSError, ValueError) as error:
                log.error("the replaced file of tokens cannot be used, the old ones stay: %s", _reason(error))


class AuthMiddleware:
    """Lets a request pass if its token may call the operation that the router chose.

    The text of the path decides nothing: it has many spellings, and the router takes several of them.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: dict[str, str]
    ) -> None:
        """After routing. Raises a 401 or 403 `Problem`; an operation that declares no access is closed."""
        access = _access(resource, req.method)
        if access == PUBLIC:
            return
        holder = req.context.holder = self._authenticate(req)
        if access is None:
            raise Problem("forbidden", "This operation is closed.")
        if access == WRITE and holder.scope == READ:
            raise Problem("read-only-token", "This token may only read and infer.")

    def unknown_path(self, req: falcon.Request, resp: falcon.Response, **parameters: str) -> None:
        """Falcon's sink for paths that no route matches: 404, but below `_PROTECTED` 401 without a valid token."""
        if req.path.lstrip("/").partition("/")[0] in _PROTECTED:
            self._authenticate(req)
        raise Problem("unknown-path", "There is nothing at this path.")

    def _authenticate(self, req: falcon.Request) -> Holder:
        token = bearer(req.auth or "")
        if token and (holder := self._tokens.holder(token)):
            return holder
        challenge = 'Bearer error="invalid_token"' if token else "Bearer"
        detail = "The token is not valid." if token else "Send the header Authorization: Bearer <token>."
        raise Problem("unauthorized", detail, headers={"WWW-Authenticate": challenge})


def _of_environment(settings: Settings) -> list[Token]:
    return [Token(token, WRITE, f"number {number}") for number, token in enumerate(settings.tokens, 1)]


def token_to_enter_with(settings: Settings) -> str:
    """The first token with scope write, or else the first one. Raises `SettingsError` if there is none yet."""
    file = settings.tokens_file or settings.made_token
    if not settings.tokens and file == settings.made_token and not file.exists():
        raise SettingsError("there is no token yet: `falcon-mnist serve` makes one when it first starts")
    try:
        tokens = _of_environment(settings) or _read(file)
    except (OSError, ValueError) as error:
        raise _unusable(file, error) from None
    return next((token.secret for token in tokens if token.scope == WRITE), tokens[0].secret)


def _unusable(file: Path, error: OSError | ValueError) -> SettingsError:
    return SettingsError(f"the tokens in {file} cannot be used: {_reason(error)}")


def bearer(authorization: str) -> str:
    """The token in the value of an `Authorization` header; empty if there is none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _access(resource: object, method: str) -> str | None:
    """The access that the resource declares for the method; None if the method declares none.

    A method that the resource lacks (405, OPTIONS) only tells the allowed methods: public if any of them is, else read.
    """
    declared: Mapping[str, str] = getattr(resource, "access", {})
    access = declared.get("GET" if method == "HEAD" else method)
    if access is None and not hasattr(resource, f"on_{method.lower()}"):
        return PUBLIC if PUBLIC in declared.values() else READ
    return access


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _state(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path) -> list[Token]:
    """One token a line, optionally followed by `read`; blank lines and lines that begin with # are skipped."""
    tokens = []
    for number, line in enumerate(path.read_text("ascii").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words == [READ]:
            raise ValueError(f"line {number} holds only the word read, without a token before it")
        if len(words) > 2 or (len(words) == 2 and words[1] != READ):
            raise ValueError(f"line {number} is not a token, or a token and the word read")
        tokens.append(Token(words[0], READ if len(words) == 2 else WRITE, f"line {number}"))
    if not tokens:
        raise ValueError("there is none in it")
    return tokens


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not ASCII text"
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)


def _made(path: Path, disk: Disk) -> Path:
    """Make the token file if there is none. Of two servers that start at the same time, one makes it.

    It is linked to its name after it is synced: an empty file, after a power failure, would keep servers from starting.
    """
    if not path.exists():
        make_private(path.parent, disk)
        temporary = path.with_name(f".token.{os.getpid()}.tmp")
        temporary.unlink(missing_ok=True)  # it may have been open to others
        with disk.create(temporary) as file:
            file.write(f"{secrets.token_urlsafe(32)}\n".encode())
            disk.sync(file)
        with contextlib.suppress(FileExistsError, FileNotFoundError):  # another server made it, and removed ours below
            os.link(temporary, path)
        disk.sync_folder(path.parent)
    for left in path.parent.glob(".token.*.tmp"):  # ours, and those of starts that were killed
        left.unlink(missing_ok=True)
    return path
