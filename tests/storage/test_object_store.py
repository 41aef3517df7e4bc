"""What a bucket promises beyond the contract of stored files: requests that fail are made again, and not for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from itertools import repeat

import pytest
from asking import until
from buckets import KINDS, Bucket
from manual_time import ManualTime
from unreliable import FAULTS, Proxy, proxy

from falcon_mnist.storage.files import DamagedFileError, StorageUnavailableError, Sweeper, Written
from falcon_mnist.storage.object_store import MOST_REQUESTS, ObjectStore, Patience

# For requests that are answered, and for those that are not: the tests wait for their end.
PATIENT = Patience(answer=30.0, pauses=(0.0, 0.0))
IMPATIENT = Patience(answer=0.5, listing=0.5, pauses=(0.0, 0.0))
# gcsfs pauses for a second before it tries again what failed: then all that it says is that the time is up.
HASTY = {"s3": IMPATIENT, "gs": Patience(answer=0.2, listing=0.2, pauses=(0.0, 0.0))}
DATA = bytes(range(256)) * 400


@pytest.fixture(params=KINDS)
def new(request: pytest.FixtureRequest) -> Callable[[], Bucket]:
    """Makes buckets of one kind."""
    made: Callable[[], Bucket] = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def bucket(new: Callable[[], Bucket]) -> Bucket:
    return new()


@pytest.fixture(scope="module")
def proxies() -> Iterator[Callable[[int, str], Proxy]]:
    """One for each server and verb, kept from test to test as the connections to it are."""
    with ExitStack() as running:
        yield cache(lambda port, verb: running.enter_context(proxy(port)))


@pytest.fixture
def between(bucket: Bucket, proxies: Callable[[int, str], Proxy]) -> Iterator[Proxy]:
    made = proxies(bucket.port, "")
    made.do()
    yield made
    made.do()


def storage_at(bucket: Bucket, port: int | None = None, patience: Patience = PATIENT) -> ObjectStore:
    return ObjectStore(bucket.place, bucket.connect(port), patience=patience)


WRITTEN = Written.of(DATA)
VERBS: dict[str, Callable[[ObjectStore], object]] = {
    "put": lambda storage: storage.put("new", DATA),
    "get": lambda storage: storage.get("old", WRITTEN),
    "delete": lambda storage: storage.delete("old"),
    "list": lambda storage: storage.list(),
}


def each(check: Callable[[str], None]) -> None:
    """Check all verbs at once: what they wait for, such as a second in gcsfs between two tries, is waited for once."""
    with ThreadPoolExecutor(len(VERBS)) as threads:
        checked = {verb: threads.submit(check, verb) for verb in VERBS}
    for verb, future in checked.items():
        if error := future.exception():
            error.add_note(f"The verb was {verb}.")
            raise error


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "silent"])
def test_what_fails_once_is_done_all_the_same(
    new: Callable[[], Bucket], proxies: Callable[[int, str], Proxy], fault: str
) -> None:
    def check(verb: str) -> None:
        bucket = new()
        between = proxies(bucket.port, verb)
        direct, through = storage_at(bucket), storage_at(bucket, between.port)
        direct.put("old", DATA)
        between.do([fault])
        VERBS[verb](through)
        assert between.requests > 1
        expected = {"put": {"old", "new"}, "delete": set()}.get(verb, {"old"})
        assert {entry.name for entry in direct.list()} == expected
        for name in expected:
            assert direct.get(name, WRITTEN) == DATA

    each(check)


def test_what_is_not_answered_in_time_is_asked_again(bucket: Bucket, between: Proxy) -> None:
    through = storage_at(bucket, between.port, Patience(answer=1.0, pauses=(0.0,) * 10))
    between.do(["silent"])
    assert through.put("a", DATA) == WRITTEN
    assert storage_at(bucket).get("a", WRITTEN) == DATA


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_is_away_is_said_to_be(
    new: Callable[[], Bucket], proxies: Callable[[int, str], Proxy], fault: str
) -> None:
    def check(verb: str) -> None:
        bucket = new()
        between = proxies(bucket.port, verb)
        storage_at(bucket).put("old", DATA)
        between.do(repeat(fault))
        with pytest.raises(StorageUnavailableError, match=bucket.prefix) as caught:
            VERBS[verb](storage_at(bucket, between.port, HASTY[bucket.kind]))
        between.do()
        assert caught.value.strerror
        assert "\n" not in caught.value.strerror

    each(check)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("new", ["s3"], indirect=True)
def test_it_is_asked_three_times(bucket: Bucket, between: Proxy, fault: str) -> None:
    between.do(repeat(fault))
    with pytest.raises(StorageUnavailableError):
        storage_at(bucket, between.port, IMPATIENT).put("a", DATA)
    until(lambda: between.requests >= 3, "the third has come in")  # it may have been given up by then
    assert between.requests <= 6  # a connection that was closed without an answer is tried anew at once


@pytest.mark.parametrize("new", ["s3"], indirect=True)  # the other server here keeps what was cut, as no real one
def test_a_put_that_was_cut_leaves_nothing(bucket: Bucket, between: Proxy) -> None:
    between.do(repeat("cut-request"))
    with pytest.raises(StorageUnavailableError):
        storage_at(bucket, between.port, IMPATIENT).put("a", DATA)
    assert storage_at(bucket).list() == []


def test_a_put_whose_answer_was_lost_is_swept(bucket: Bucket, between: Proxy, time: ManualTime) -> None:
    direct = ObjectStore(bucket.place, bucket.connect(), clock=time.clock)
    between.do(repeat("lost-answer"))
    with pytest.raises(StorageUnavailableError):
        storage_at(bucket, between.port, IMPATIENT).put("a", DATA)
    until(lambda: [entry.name for entry in direct.list()] == ["a"], "it has arrived all the same")
    time.wall += 2**31
    sweeper = Sweeper(direct)
    for _ in range(2):
        sweeper.sweep(())
    assert direct.list() == []


def test_a_file_is_damaged_where_it_is_missing_and_not_where_its_bucket_is(bucket: Bucket) -> None:
    with pytest.raises(DamagedFileError, match="is not there"):
        storage_at(bucket).get("a", WRITTEN)
    elsewhere = ObjectStore("no-such-bucket/p", bucket.connect(), patience=IMPATIENT)
    for act in (VERBS["get"], VERBS["put"], VERBS["list"]):
        with pytest.raises(StorageUnavailableError):
            act(elsewhere)


def test_few_threads_wait_for_a_store_that_is_silent(bucket: Bucket, between: Proxy) -> None:
    storage = storage_at(bucket, between.port, Patience(listing=60.0, pauses=(0.0,)))
    between.do(repeat("silent"))
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(storage.list) for _ in range(MOST_REQUESTS)]
        until(lambda: between.requests == MOST_REQUESTS, "all are silent")
        with pytest.raises(StorageUnavailableError, match="too many requests"):
            storage.get("a", WRITTEN)
        between.do()
        assert [future.result() for future in waiting] == [[]] * MOST_REQUESTS


def test_what_others_keep_under_its_prefix_is_not_listed(bucket: Bucket) -> None:
    ObjectStore(f"{bucket.place}/deeper", bucket.connect()).put("b", b"")
    ObjectStore(f"{bucket.place}-beside", bucket.connect()).put("c", b"")
    storage = storage_at(bucket)
    storage.put("a", b"")
    assert [entry.name for entry in storage.list()] == ["a"]


def test_a_file_that_has_grown_is_not_read_whole(bucket: Bucket) -> None:
    storage = storage_at(bucket)
    storage.put("a", DATA)
    with pytest.raises(DamagedFileError):
        storage.get("a", Written.of(DATA[:10]))
