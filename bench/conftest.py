"""What the benchmarks share: the comparison with its facts, and a service for those that look inside a request.

pytest bench/bench_gemm.py --benchmark-columns=median,iqr --benchmark-json gemm.json
"""

import os

os.environ.pop("OPENBLAS_CORETYPE", None)  # NumPy's BLAS chooses its kernels itself, before it is imported

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import configurations
import contenders
import limits
import numpy as np
import paired
import pytest
from configurations import CONFIGURATIONS
from contenders import with_numpy
from readme import machine

from falcon_mnist import kernels
from falcon_mnist.api.service import Service
from falcon_mnist.app import open_service
from falcon_mnist.clock import new_id
from falcon_mnist.data.dataset import Dataset
from falcon_mnist.settings import Settings
from falcon_mnist.training import network

pytest_plugins = ["pytest_benchmark.plugin"]

ARCHITECTURE = CONFIGURATIONS["784-128-10"].architecture


def pytest_report_header() -> list[str]:
    """Who takes part, and who does not."""
    found = ", ".join(f"{each.name} {each.version}".strip() for each in contenders.contenders())
    left_out = ", ".join(contenders.missing()) or "none"
    return [f"contenders: {found}", f"not installed, so left out: {left_out}", f"NumPy's BLAS: {with_numpy.blas()}"]


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """What the table of docs/performance.md says below the figures."""
    machine_info |= {
        "machine": machine(),
        "limits": {isa: limits.limits(isa)._asdict() for isa in kernels.supported()},
        "versions": {each.name: each.version for each in contenders.contenders()},
        "left_out": contenders.missing(),
        "blas": with_numpy.blas(),
    }


Make = Callable[[Any], Callable[[], Any]]


@pytest.fixture
def compare(benchmark: Any) -> Callable[..., None]:
    """Check a contender's operation, time it, and time it in pairs with ours on the best instruction set.

    `make` prepares the operation of a contender; `check` gets its result as NumPy has it. `flop` (of
    the arithmetic without skipping) and `moved` (bytes) of one call are held against what one thread can do at
    most. `once` is for operations that take long: fewer repetitions.
    """

    def run(
        contender: Any, make: Make, check: Callable[[Any], None], *,
        group: str, flop: int = 0, moved: int = 0, once: bool = False, **facts: Any,
    ) -> None:  # fmt: skip
        benchmark.group = group
        contender.use()
        call = make(contender)
        check(contender.as_numpy(call()))
        benchmark.pedantic(call, rounds=3) if once else benchmark(call)
        facts |= {"contender": contender.name, "isa": contender.isa, "threads": contender.threads}
        median, best = benchmark.stats.stats.median, limits.limits(contender.isa or kernels.supported()[0])
        if flop:
            facts |= {"flop": flop, "share_of_fma_peak": flop / median / best.flop}
        if moved:
            facts |= {"bytes": moved, "share_of_cache_bandwidth": moved / median / best.bandwidth}
        if not contender.isa:
            ours = make(contenders.contenders()[0])
            ours()
            found = paired.paired(ours, call, pairs=3, seconds=0) if once else paired.paired(ours, call)
            facts["paired"] = found._asdict()
        benchmark.extra_info |= facts

    return run


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Open on an empty home; nothing runs."""
    opened = open_service(Settings(home=tmp_path_factory.mktemp("home"), tokens=("token",)))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def param_id(service: Service) -> str:
    """A stored parameter set of the specification's example, as it is before training."""
    store, net, param_id = service.store, network.build(ARCHITECTURE), new_id("p")
    run = store.create_run(store.create_model(ARCHITECTURE, {}), {}, max_queued=1)
    store.claim(run.id, "bench")
    written = service.files.write(param_id, ARCHITECTURE, network.initial_parameters(net, seed=1))
    store.succeed(run.id, "bench", param_id, size_bytes=written.size_bytes, sha256=written.sha256)
    return param_id


@pytest.fixture(scope="session")
def data() -> Dataset:
    """What FALCON_MNIST_DATASET says, or MNIST where it is there or can be downloaded."""
    return configurations.digits()


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """512 rows of pixels, four in five of them 0, as in MNIST."""
    random = np.random.default_rng(1)
    return (random.integers(0, 256, (512, 784)) * (random.random((512, 784)) < 0.2)).astype(np.uint8)


@pytest.fixture(scope="session")
def project() -> Path:
    """The repository."""
    return Path(__file__).parents[1]
