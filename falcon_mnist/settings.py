"""Every setting of the service, in one table: field, variable, default, meaning."""

from __future__ import annotations

import difflib
import importlib.util
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from platformdirs import user_data_path

log = logging.getLogger(__name__)
log.setLevel(logging.WARNING)  # where a command logs errors alone, warnings of settings are logged too

PREFIX = "FALCON_MNIST_"

MOST_PROCESSES = 64

# Schemes of URLs whose files are in a bucket.
OBJECT_STORES = ("s3", "gs")


class SettingsError(ValueError):
    """A setting whose value cannot be used; the message is one sentence for the person who set it."""


def _dataset(value: str) -> str:
    if value not in ("auto", "mnist", "synthetic") and not Path(value).expanduser().is_dir():
        raise ValueError(f"must be auto, mnist, synthetic, or an existing folder, but is {value!r}")
    return value


def _folder(value: str) -> Path:
    return Path(value).expanduser().absolute()


def _tokens(value: str) -> tuple[str, ...]:
    tokens = tuple(token.strip() for token in value.split(",") if token.strip())
    if not tokens:
        raise ValueError("must hold at least one token")
    if any(not token.isascii() or not token.isprintable() or " " in token for token in tokens):
        raise ValueError("must hold printable ASCII tokens without spaces, separated by commas")
    return tokens


def _count(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return parse


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return value

    return parse


def _executor(value: str) -> str:
    _one_of("pool", "ray")(value)
    if value == "ray" and importlib.util.find_spec("ray") is None:
        raise ValueError("is ray, which is not installed: pip install 'falcon-mnist[cluster]'")
    return value


def _flag(value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return value == "1"


def _database(value: str) -> Path | str:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`; a URL of PostgreSQL as it is."""
    url = urlsplit(value)
    if url.scheme in ("postgres", "postgresql"):
        return value
    if url.scheme != "sqlite" or url.netloc or len(url.path) < 2 or url.query or url.fragment:
        raise ValueError("must be a URL of the form sqlite:///path/to/file.db or postgresql://user@host/database")
    return _folder(unquote(url.path[1:]))


def _storage(value: str) -> Path | str:
    """The folder of a path or of `file:///path`; the URL of a bucket as it is, without a slash at its end."""
    url = urlsplit(value)
    if url.scheme == "file" and not url.netloc and url.path:
        return _folder(unquote(url.path))
    if "://" not in value:
        return _folder(value)
    if url.scheme not in OBJECT_STORES or not url.netloc or {"@", "?", "#"} & set(value):
        raise ValueError("must be a folder, file:///folder, s3://bucket/prefix or gs://bucket/prefix")
    return value.rstrip("/")


def _setting(
    parse: Callable[[str], Any], default: Any, meaning: str, *, shown: str | None = None, secret: bool = False
) -> Any:
    metadata = {"parse": parse, "meaning": meaning, "shown": shown, "secret": secret}
    if callable(default):
        return field(default_factory=default, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


def cpus() -> int:
    """How many CPUs this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@dataclass(frozen=True)
class Settings:
    """What the service can be told from outside; `Settings.from_env()` reads the environment.

    Tests and programs may build one directly. It is picklable: worker processes get a copy.
    """

    home: Path = _setting(
        _folder,
        lambda: user_data_path("falcon-mnist", appauthor=False),
        "folder of the database, parameter files, cached data and token",
        shown="the platform's user data folder",
    )
    tokens: tuple[str, ...] = _setting(
        _tokens,
        (),
        "comma-separated tokens",
        shown="none: one is made at first start and kept in `HOME/token`, mode 0600",
        secret=True,
    )
    tokens_file: Path | None = _setting(
        _folder,
        None,
        "file of tokens, one a line, optionally followed by `read` for a read-only token; "
        "read again when it is replaced",
        shown="none",
    )
    dataset: str = _setting(
        _dataset,
        "auto",
        "`auto`, `mnist`, `synthetic`, or a folder with the four IDX files (gzipped or not)",
        shown="`auto`: cached or downloaded MNIST, else synthetic, said plainly",
    )
    workers: int = _setting(_count(1, 256), cpus, "training processes of the pool", shown="the number of CPUs")
    processes: int = _setting(_count(1, MOST_PROCESSES), 1, "server processes of `falcon-mnist serve` on its port")
    max_body_bytes: int = _setting(_count(1024, 2**40), 67_108_864, "largest request body")
    # Ten million float32 are 40 MB of file and about 110 MB of JSON: no answer should be larger.
    max_parameters: int = _setting(_count(1, 2**31 - 1), 10_000_000, "most parameters in an architecture")
    max_queued_runs: int = _setting(_count(0, 1_000_000), 100, "queued runs before 503")
    isa: str | None = _setting(
        _one_of("avx512", "avx2", "baseline"),
        None,
        "force a kernel variant: `avx512`, `avx2`, `baseline`",
        shown="the best that the CPU has",
    )
    database_url: Path | str | None = _setting(
        _database,
        None,
        "database, as `sqlite:///path/to/file.db` or `postgresql://user:password@host/database`",
        shown="`HOME/falcon-mnist.db`",
        secret=True,
    )
    storage_url: Path | str | None = _setting(
        _storage,
        None,
        "where parameter files and checkpoints are: a folder, `file:///folder`, `s3://bucket/prefix` or "
        "`gs://bucket/prefix`",
        shown="`HOME/storage`",
    )
    executor: str = _setting(
        _executor, "pool", "who executes runs: `pool`, or `ray` on the cluster at Ray's own `RAY_ADDRESS`"
    )
    log: str = _setting(
        _one_of("auto", "text", "json"),
        "auto",
        "the log of `falcon-mnist serve`: `text` for people, `json` for programs, or `auto`",
        shown="`auto`: text on a terminal, else JSON",
    )
    metrics_public: bool = _setting(_flag, False, "`1`: `/metrics` needs no token", shown="`0`")

    @property
    def database(self) -> Path | str:
        """The SQLite file, or the URL of the PostgreSQL database."""
        return self.database_url or self.home_database

    @property
    def home_database(self) -> Path:
        """The SQLite file of a home without another database."""
        return self.home / "falcon-mnist.db"

    @property
    def storage(self) -> Path | str:
        """The folder of parameter files and checkpoints, or the URL of their bucket."""
        return self.storage_url or self.home / "storage"

    @property
    def cached_parameters(self) -> Path:
        """The folder of this machine's copies of parameter files that are in a bucket."""
        return self.home / "cache" / "parameters"

    @property
    def made_token(self) -> Path:
        """Where the token lies that is made when none is given."""
        return self.home / "token"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read `FALCON_MNIST_*`; an empty variable counts as unset, and an unknown one is logged and ignored.

        Raises `SettingsError` for a value that cannot be used.
        """
        environ = os.environ if environ is None else environ
        for sentence in unknown_variables(environ):
            log.warning("%s", sentence)
        values: dict[str, Any] = {}
        for name, setting in settings_table().items():
            if text := environ.get(variable(name), "").strip():
                try:
                    values[name] = setting["parse"](text)
                except ValueError as error:
                    raise SettingsError(f"{variable(name)} {error}") from None
        if values.get("tokens") and values.get("tokens_file"):
            raise SettingsError(f"{PREFIX}TOKENS and {PREFIX}TOKENS_FILE are both set: keep one of them")
        return cls(**values)


def settings_table() -> dict[str, Mapping[str, Any]]:
    """Field name to its metadata: `parse`, `meaning`, `shown` (its default in words), `secret`."""
    return {entry.name: entry.metadata for entry in fields(Settings)}


def variable(name: str) -> str:
    """The environment variable of a field of `Settings`."""
    return PREFIX + name.upper()


# Variables of clients, and of the commands that ask a server.
OF_CLIENTS = ("URL", "TOKEN")


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like a setting and is none: a typing error, or of another version."""
    known = [*(name.upper() for name in settings_table()), *OF_CLIENTS]
    sentences = []
    for name in sorted(name.removeprefix(PREFIX) for name in environ if name.startswith(PREFIX)):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f": is {PREFIX}{near[0]} meant?" if near else ""
            sentences.append(f"{PREFIX}{name} is not a setting and is ignored{meant}")
    return sentences
