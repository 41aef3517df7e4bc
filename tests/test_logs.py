"""Lines of the access log are written by a thread of their own, and none is lost."""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from asking import until

from falcon_mnist import logs
from falcon_mnist.logs import BatchHandler, JsonFormatter, TextFormatter


class Disk(io.StringIO):
    """A stream that takes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may_write = threading.Event()
        self.asked = threading.Event()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        self.asked.set()
        self.may_write.wait()
        count = super().write(text)
        self.written.set()
        return count


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.may_write.set()


def _record(number: int) -> logging.LogRecord:
    return logging.LogRecord("name", logging.INFO, "file", 1, f"line {number}", (), None)


def test_lines_are_written_whole_and_in_their_order(disk: Disk) -> None:
    handler = BatchHandler(disk)
    disk.may_write.set()
    for number in range(1000):
        handler.handle(_record(number))
    handler.flush()
    assert disk.getvalue().splitlines() == [f"line {number}" for number in range(1000)]
    handler.handle(_record(1000))
    until(lambda: disk.getvalue().endswith("line 1000\n"), "the thread has written it")


def test_a_slow_disk_keeps_nobody_until_very_many_lines_wait(disk: Disk) -> None:
    handler = BatchHandler(disk)
    for number in range(logs.MOST_LINES):
        handler.handle(_record(number))
    waits = threading.Thread(target=lambda: [handler.handle(_record(number)) for number in range(2 * logs.MOST_LINES)])
    waits.start()
    assert not disk.written.is_set()
    disk.may_write.set()
    waits.join()
    handler.flush()
    assert len(disk.getvalue().splitlines()) == 3 * logs.MOST_LINES


@pytest.fixture
def access_log_on_disk(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """The process's standard error is this disk, and answers are logged there."""
    before = logs.configured()
    monkeypatch.setattr(sys, "stderr", disk)
    logs.configure(logging.INFO, "json")
    yield disk
    disk.may_write.set()
    monkeypatch.undo()
    logs.configure(*before)


def test_a_disk_that_is_behind_is_told(access_log_on_disk: Disk) -> None:
    logs.answered({"number": 0})
    access_log_on_disk.asked.wait()  # the thread has taken it, and takes no other until it is written
    for number in range(logs.MOST_LINES // 2):
        logs.answered({"number": number})
    assert not logs.is_behind()
    logs.answered({"number": "one more"})
    assert logs.is_behind()
    access_log_on_disk.may_write.set()
    logs.access.handlers[0].flush()
    assert not logs.is_behind()


def test_an_answer_is_the_same_line_whether_it_is_a_record_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    before, stream = logs.configured(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    facts = {"request_id": "a", "method": "GET", "path": "/\u00e9", "status": 200, "ms": 0.25, "run_id": "r"}
    try:
        logs.configure(logging.INFO, "json")
        logs.access.info("request", extra=facts)
        logs.answered(facts)
        logs.access.handlers[0].flush()
    finally:
        logs.configure(*before)
    first, second = ({**orjson.loads(line)} for line in stream.getvalue().splitlines())
    assert list(first) == list(second)
    assert re.sub(r"\d", "0", first.pop("time")) == re.sub(r"\d", "0", second.pop("time"))
    assert first == second


def test_a_record_is_a_json_line_with_what_its_caller_knows_and_its_traceback() -> None:
    try:
        raise ValueError("no such thing")
    except ValueError:
        record = logging.getLogger("a").makeRecord(
            "a", logging.ERROR, "file", 1, "lost %s", ("it",), sys.exc_info(), extra={"path": Path("/x"), 1: None}
        )
    line = orjson.loads(JsonFormatter().format(record))
    assert line.pop("exc_info").endswith("ValueError: no such thing")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", line.pop("time"))
    assert line == {"event": "lost it", "level": "ERROR", "logger": "a", "path": "/x", "1": None}


def test_what_libraries_note_on_a_record_for_themselves_is_not_shown() -> None:
    record = _record(1)
    record.run_id, record._ray_timestamp_ns = "r", 1
    assert "_ray" not in TextFormatter(coloured=False).format(record)
    shown = orjson.loads(JsonFormatter().format(record))
    assert shown["run_id"] == "r"
    assert "_ray_timestamp_ns" not in shown
