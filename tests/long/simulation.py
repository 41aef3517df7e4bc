"""Plays many seeds of tests/simulation, or repeats one with its trace.

python -m tests.long simulation [--seeds 2000]
python -m tests.long simulation --seed N
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.scenario import Scenario

MOST_FAILURES = 20  # that are printed


def main() -> int:
    """Exit status 1 if a seed fails; the first few of them are printed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.long simulation", description="Plays seeds of tests/simulation."
    )
    parser.add_argument("--seeds", type=int, default=2000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="side by side")
    parser.add_argument("--seed", type=int, help="repeat this one, and print its trace")
    parser.add_argument("--until-failed", action="store_true", help="end at the first that fails")
    options = parser.parse_args()
    if options.seed is not None:
        return _repeat(options.seed)
    started, seeds, failed = time.monotonic(), 0, 0
    for failure in _failures(range(options.first, options.first + options.seeds), options.processes):
        seeds += 1
        if failure:
            failed += 1
            print(failure, flush=True)
            if options.until_failed or failed == MOST_FAILURES:
                break
    print(f"{seeds} seeds, {failed} failed, {time.monotonic() - started:.1f} s")
    return int(failed > 0)


def _failures(seeds: range, processes: int) -> Iterator[str]:
    """In the order of the seeds."""
    if processes == 1:
        yield from map(_failure, seeds)
        return
    with ProcessPoolExecutor(processes) as executor:
        try:
            yield from executor.map(_failure, seeds, chunksize=10)
        finally:
            executor.shutdown(cancel_futures=True)


def _failure(seed: int) -> str:
    logging.disable()
    try:
        Scenario(seed).play()
    except Exception as error:
        return f"seed {seed}: {type(error).__name__}: {error}"
    return ""


def _repeat(seed: int) -> int:
    scenario = Scenario(seed)
    logging.disable()
    try:
        scenario.play()
    finally:
        print("\n".join(scenario.world.trace))
        print(f"trace {scenario.world.digest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
