"""Runs many seeds, or repeats one with its trace."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from .scenario import Scenario


def main() -> int:
    """Exit status 1 if a seed fails; the first few of them are printed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--seed", type=int, help="repeat this one, and print its trace")
    parser.add_argument("--until-failed", action="store_true", help="end at the first that fails")
    options = parser.parse_args()
    if options.seed is not None:
        return _repeat(options.seed)
    logging.disable()
    started, failed = time.process_time(), 0
    for seed in range(options.first, options.first + options.seeds):
        try:
            Scenario(seed).play()
        except Exception as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
            if options.until_failed or failed == 20:
                break
    print(f"{seed - options.first + 1} seeds, {failed} failed, {time.process_time() - started:.1f} s of CPU")
    return int(failed > 0)


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
