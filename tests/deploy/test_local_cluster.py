"""The parts of `deploy/local-cluster`: what they start is theirs, whatever becomes of its parent."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import until
from server_process import alive

sys.path.append(str(Path(__file__).parents[2] / "deploy/local-cluster"))

from part import Part

# Starts a child and ends; the next time, it starts another and stays.
SCRIPT = """\
sleep 1000 & echo $! >> children
[ $(wc -l < children) -gt 1 ] || exit 1
touch ready
wait
"""


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    command = ["sh", "-c", f"cd {tmp_path}\n{SCRIPT}"]
    part = Part("part", command, tmp_path / "log", (tmp_path / "ready").exists)
    yield part
    part.kill()


def test_what_a_part_left_that_did_not_start_is_ended_before_it_is_started_again(part: Part, tmp_path: Path) -> None:
    part.start()
    first, second = map(int, (tmp_path / "children").read_text().split())
    until(lambda: not alive(first), "its first child is gone")
    assert {os.getpid(), first}.isdisjoint(part.processes())
    assert second in part.processes()


def test_a_part_that_is_killed_leaves_nothing(part: Part, tmp_path: Path) -> None:
    part.start()
    part.kill()
    for child in map(int, (tmp_path / "children").read_text().split()):
        until(lambda child=child: not alive(child), "a child is gone")  # type: ignore[misc]
    assert not part.lives
