"""Workers and servers that are killed, or whose disk is full, before each of their writes: see `crashing`."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from asking import Document
from commands import Command

# Files in memory, where there are such: a killed process leaves the same there, and no sync waits for a disk.
MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def everything(digits: Path) -> list[Document]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FALCON_MNIST_")}
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as home:
        ran = Command(home, digits, env=variables, main="crashing:main").end()
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.fixture(scope="module")
def attempts(everything: list[Document]) -> list[Document]:
    """What each run was like that failed at one write and was executed again; the first did not fail."""
    return [attempt for attempt in everything if not attempt["kind"].endswith("server")]


@pytest.fixture(scope="module")
def servers(everything: list[Document]) -> list[Document]:
    """What was there after a server was killed and asked again; the first was not killed."""
    return [attempt for attempt in everything if attempt["kind"].endswith("server")]


def test_a_run_that_is_killed_before_any_of_its_writes_ends_as_if_nothing_had_happened(
    attempts: list[Document],
) -> None:
    undisturbed, *others = attempts
    killed = [attempt for attempt in others if attempt["kind"] == "kill"]
    assert {attempt["step"] for attempt in killed} >= {
        "INSERT", "UPDATE", "commit", "open", "fsync", "rename", "unlink"
    }  # fmt: skip
    for attempt in killed:
        for name in ("state", "epoch", "history", "parameters"):
            assert attempt[name] == undisturbed[name], attempt
    assert undisturbed["state"] == "succeeded"
    assert [entry[0] for entry in undisturbed["history"]] == [1, 2]
    assert len(undisturbed["parameters"]) == 1


def test_a_kill_leaves_files_that_are_swept_and_no_others(attempts: list[Document]) -> None:
    assert all(attempt["files"] == ["parameters"] * len(attempt["parameters"]) for attempt in attempts)
    assert any("tmp" in attempt["unswept"] for attempt in attempts)
    assert any(attempt["unswept"] == ["safetensors"] * 2 for attempt in attempts)


def test_a_run_whose_disk_is_full_at_any_of_its_writes_fails_cleanly_or_goes_on(attempts: list[Document]) -> None:
    undisturbed, *others = attempts
    full = [attempt for attempt in others if attempt["kind"] == "full"]
    assert {attempt["state"] for attempt in full} == {"succeeded", "failed"}
    for attempt in full:
        if attempt["state"] == "failed":
            assert attempt["error"]["code"] == "disk_full", attempt
            assert attempt["parameters"] == []
            # It removed what it had written: nothing waits for a sweep.
            assert attempt["unswept"] == [], attempt
        else:
            assert attempt["parameters"] == undisturbed["parameters"]
            assert attempt["history"] == undisturbed["history"]


def test_an_epoch_that_was_counted_stays_counted(attempts: list[Document]) -> None:
    assert all(attempt["epoch"] >= attempt["before"] for attempt in attempts[1:])
    assert any(attempt["before"] == 2 for attempt in attempts[1:])


def test_a_server_that_is_killed_before_any_of_its_writes_forgets_nothing_that_it_answered(
    servers: list[Document],
) -> None:
    """From its very first start on: the next takes what is there, and the same keys get the same answers."""
    undisturbed, *killed = servers
    assert {attempt["step"] for attempt in killed} >= {
        "CREATE", "INSERT", "UPDATE", "commit", "mkdir", "open", "link", "unlink"
    }  # fmt: skip
    assert undisturbed["runs"] == [["succeeded", 1], ["cancelled", 0]]
    assert len(undisturbed["parameters"]) == 1
    assert {len(attempt["before"]) for attempt in killed} == {0, 1, 2, 3}
    for attempt in killed:
        assert attempt["ids"][: len(attempt["before"])] == attempt["before"], attempt
        for name in ("models", "runs", "parameters"):
            assert attempt[name] == undisturbed[name], attempt
        assert attempt["mode"] == 0o700
        assert attempt["temporary"] == [], "one of them holds the token"
