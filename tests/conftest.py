"""How tests are run: in which order, and in processes that are forked. What they use stands in `shared_fixtures.py`."""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # NumPy's own threads would wait for CPUs that other tests have

import gc
from collections.abc import Generator

import execnet
import hypothesis
import pytest
from forked_tests import Forker
from xdist.scheduler import LoadScopeScheduling

# Each run tries other examples, in CI always the same; `-m hypothesis --hypothesis-profile=thorough` tries many.
for profile, examples in (("usual", 25), ("thorough", 2000)):
    hypothesis.settings.register_profile(profile, max_examples=examples, deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("usual")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", action="store_true", help="Write what tests/page sees to docs/.")
    parser.addoption("--write-examples", action="store_true", help="Write what servers answer to docs/api.md.")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """What tests use is not imported by a process that only hands them out."""
    if config.option.dist == "no" or config.option.collectonly:
        config.pluginmanager.import_plugin("shared_fixtures")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Three for each CPU: many tests wait for processes, for deadlines, or for clients that are slow."""
    return 3 * len(os.sched_getaffinity(0))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage, and never look for it among what was collected: a quarter of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Look once for what nobody has closed: pytest looks five times, for as long among all that is still in use."""
    gc.collect()
    gc.freeze()


# Tests that share what takes long to start, by parts of their names: a cluster of Ray, a browser and a trained network,
# a server of PostgreSQL, servers of object stores. One process goes through all of them.
SHARING = {
    "ray": ("[ray", "/test_ray"),
    "page": ("tests/page/",),
    "postgresql": ("[postgresql", "/test_postgresql", "/test_moving", "/test_bucket_servers"),
    "buckets": ("/test_object_store", "/test_files"),
}

# What waits for servers and processes, longest first. Begun last, it would keep one CPU of many busy, or none.
LONGEST = (*SHARING, "faults", "cli", "hostile", "server", "runs", "storage", "data")


def scope(nodeid: str) -> str:
    """What one process tests: those that share what they start, or a module."""
    shared = (name for name, parts in SHARING.items() if any(part in nodeid for part in parts))
    return next(shared, nodeid.partition("::")[0])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits, longest first; and between it, evenly, what computes: it has the CPUs while the others wait."""

    def place(item: pytest.Item) -> int:
        names = {scope(item.nodeid), item.path.parent.name}
        return next((at for at, name in enumerate(LONGEST) if name in names), len(LONGEST))

    items.sort(key=place)
    computes = {scope(item.nodeid): place(item) == len(LONGEST) for item in items}
    kinds = [[name for name in computes if computes[name] is kind] for kind in (False, True)]
    share = {name: number / len(names) for names in kinds for number, name in enumerate(names)}
    items.sort(key=lambda item: share[scope(item.nodeid)])


def pytest_xdist_setupnodes(config: pytest.Config, specs: list[execnet.XSpec]) -> None:
    """Have the processes forked: to start each anew takes longer than most modules."""
    local = [spec for spec in specs if spec.popen and not spec.python]
    if local:
        forker = Forker(config.invocation_params.args)
        config.add_cleanup(forker.end)
        for spec in local:
            spec.python = forker.python


class ByModule(LoadScopeScheduling):
    """As `--dist loadscope`, in the order of the items."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByModule:
    return ByModule(config, log)
