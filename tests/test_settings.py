"""Every setting: its default, its good values, and one sentence for each bad one."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from cases import for_each

from falcon_mnist.settings import Settings, SettingsError, settings_table, unknown_variables, variable

DEFAULTS = {
    "tokens": (),
    "tokens_file": None,
    "dataset": "auto",
    "max_body_bytes": 67_108_864,
    "max_parameters": 10_000_000,
    "max_queued_runs": 100,
    "isa": None,
    "database_url": None,
    "storage_url": None,
    "executor": "pool",
    "metrics_public": False,
}

GOOD = [
    ("FALCON_MNIST_HOME", "/srv/mnist", "home", Path("/srv/mnist")),
    ("FALCON_MNIST_HOME", "~/mnist", "home", Path("~/mnist").expanduser()),
    ("FALCON_MNIST_TOKENS", " one , two,", "tokens", ("one", "two")),
    ("FALCON_MNIST_TOKENS_FILE", "/srv/tokens", "tokens_file", Path("/srv/tokens")),
    ("FALCON_MNIST_DATASET", "synthetic", "dataset", "synthetic"),
    ("FALCON_MNIST_WORKERS", "1", "workers", 1),
    ("FALCON_MNIST_WORKERS", "256", "workers", 256),
    ("FALCON_MNIST_MAX_BODY_BYTES", "1024", "max_body_bytes", 1024),
    ("FALCON_MNIST_MAX_PARAMETERS", "1", "max_parameters", 1),
    ("FALCON_MNIST_MAX_QUEUED_RUNS", "0", "max_queued_runs", 0),
    ("FALCON_MNIST_ISA", "baseline", "isa", "baseline"),
    ("FALCON_MNIST_DATABASE_URL", "sqlite:////srv/my%20runs.db", "database", Path("/srv/my runs.db")),
    ("FALCON_MNIST_DATABASE_URL", "sqlite:///runs.db", "database", Path("runs.db").absolute()),
    ("FALCON_MNIST_DATABASE_URL", "postgresql://u:p@here/mnist", "database", "postgresql://u:p@here/mnist"),
    ("FALCON_MNIST_STORAGE_URL", "/srv/files", "storage", Path("/srv/files")),
    ("FALCON_MNIST_STORAGE_URL", "file:///srv/files", "storage", Path("/srv/files")),
    ("FALCON_MNIST_STORAGE_URL", "s3://bucket/mnist/", "storage", "s3://bucket/mnist"),
    ("FALCON_MNIST_STORAGE_URL", "gs://bucket", "storage", "gs://bucket"),
    ("FALCON_MNIST_EXECUTOR", "pool", "executor", "pool"),
    ("FALCON_MNIST_METRICS_PUBLIC", "1", "metrics_public", True),
    ("FALCON_MNIST_METRICS_PUBLIC", "0", "metrics_public", False),
]

NUMBERS = ["x", "-1", "1.5", "1e3", "0x10", "٣", "1 000", "9" * 30]
BAD = [
    *[("WORKERS", value) for value in ["0", "257", *NUMBERS]],
    *[("MAX_BODY_BYTES", value) for value in ["0", "1023", *NUMBERS]],
    *[("MAX_PARAMETERS", value) for value in ["0", "2147483648", *NUMBERS]],
    *[("MAX_QUEUED_RUNS", value) for value in ["1000001", *NUMBERS]],
    ("TOKENS", ","),
    ("TOKENS", "two words"),
    ("TOKENS", "schlüssel"),
    ("TOKENS", "one,\ttwo three"),
    ("ISA", "avx"),
    ("ISA", "AVX2"),
    ("METRICS_PUBLIC", "yes"),
    ("EXECUTOR", "threads"),
    ("DATABASE_URL", "mysql://here/mnist"),
    ("DATABASE_URL", "sqlite://"),
    ("DATABASE_URL", "sqlite:///"),
    ("DATABASE_URL", "sqlite://host/file.db"),
    ("DATABASE_URL", "sqlite:///file.db?mode=memory"),
    ("DATABASE_URL", "/srv/runs.db"),
    ("STORAGE_URL", "s3://"),
    ("STORAGE_URL", "s3://key:secret@bucket/mnist"),
    ("STORAGE_URL", "gs://bucket/mnist?x=y"),
    ("STORAGE_URL", "file://host/mnist"),
    ("STORAGE_URL", "memory://"),
]


def test_what_clients_are_told_by_is_no_slip() -> None:
    assert unknown_variables({"FALCON_MNIST_URL": "http://127.0.0.1:8000", "FALCON_MNIST_TOKEN": "a-token"}) == []


def test_the_defaults() -> None:
    settings = Settings.from_env({})
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert settings.workers >= 1
    assert settings.home.is_absolute()
    assert isinstance(settings.database, Path)
    assert settings.database.parent == settings.storage.parent == settings.made_token.parent == settings.home


def test_every_setting_has_a_variable_and_a_meaning() -> None:
    for name, setting in settings_table().items():
        assert variable(name) == f"FALCON_MNIST_{name.upper()}"
        assert setting["meaning"]


@for_each("name, text, member, expected", GOOD)
def test_a_good_value_is_read(name: str, text: str, member: str, expected: Any) -> None:
    assert getattr(Settings.from_env({name: text}), member) == expected


@for_each("name", settings_table())
def test_an_empty_variable_counts_as_unset(name: str) -> None:
    assert Settings.from_env({variable(name): " "}) == Settings.from_env({})


@for_each("name, text", BAD)
def test_a_bad_value_is_refused_in_one_sentence_that_names_its_variable(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({f"FALCON_MNIST_{name}": text})
    assert re.fullmatch(rf"FALCON_MNIST_{name} (must|is|names) [^\n]+", str(caught.value))
    if name == "TOKENS":
        assert "schlüssel" not in str(caught.value)


def test_a_variable_that_is_no_setting_is_ignored_and_said(caplog: pytest.LogCaptureFixture) -> None:
    given = {"FALCON_MNIST_WORKER": "3", "FALCON_MNIST_ZZZ": "the-secret", "FALCON": "1", "FALCON_MNIST_ISA": "avx2"}
    assert Settings.from_env(given) == Settings.from_env({"FALCON_MNIST_ISA": "avx2"})
    assert [record.getMessage() for record in caplog.records] == [
        "FALCON_MNIST_WORKER is not a setting and is ignored: is FALCON_MNIST_WORKERS meant?",
        "FALCON_MNIST_ZZZ is not a setting and is ignored",
    ]


def test_tokens_come_from_one_place() -> None:
    with pytest.raises(SettingsError, match="both set"):
        Settings.from_env({"FALCON_MNIST_TOKENS": "a", "FALCON_MNIST_TOKENS_FILE": "b"})


def test_what_is_secret_is_not_shown() -> None:
    given = {"FALCON_MNIST_TOKENS": "hidden-1", "FALCON_MNIST_DATABASE_URL": "postgresql://u:hidden-2@h/d"}
    assert "hidden" not in repr(Settings.from_env(given))


def test_settings_go_to_worker_processes_whole() -> None:
    settings = Settings.from_env({"FALCON_MNIST_TOKENS": "one"})
    assert pickle.loads(pickle.dumps(settings)) == settings
