"""A whole cluster, of which each part is lost in turn under load: whether anything that was answered is lost.

    python -m tests.long cluster                     # every part killed, then every part stopped for 20 seconds
    python -m tests.long cluster --namespaces        # the network cut between parts for 40 seconds; needs root
    python -m tests.long cluster --faults kill:ray-head stop:postgresql
    python -m tests.long cluster --namespaces --faults cut:ray-node-1,ray-node-2/postgresql

Starts deploy/local-cluster on a small data set. For each fault, a long run is disturbed in the middle while others are
created, trained, cancelled and asked through nginx. Ends with status 1 unless the disturbed run ends with the
parameters of an undisturbed one, bit for bit, and every model, run and cancel that was answered is there, each run with
the parameters that its seed gives. The S3 server is only stopped: it keeps its objects in memory.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "deploy/local-cluster"))

from cluster import PARTS, Cluster, running  # noqa: E402
from cluster_load import SHORT, Asker, Load  # noqa: E402
from small_networks import write_digits  # noqa: E402

STOP_SECONDS = 20.0  # longer than a lease
CUT_SECONDS = 40.0  # longer than Ray waits for a node as well
AWAY_SECONDS = 3.0
KILLS_AND_STOPS = [f"{fault}:{part}" for fault in ("kill", "stop") for part in PARTS if (fault, part) != ("kill", "s3")]
CUTS = [
    *("cut:api-1/postgresql", "cut:api-1/s3", "cut:api-1/ray-head", "cut:nginx/api-2", "cut:ray-node-1/ray-head"),
    *("cut:ray-node-1/ray-node-2", "cut:ray-node-1,ray-node-2/postgresql", "cut:ray-node-1,ray-node-2/s3"),
]
LONG = {"epochs": 1000, "batch_size": 8, "optimizer": {"momentum": 0.9}}
UNITS = 512  # so that it trains for some seconds
BEFORE = 20  # epochs until it is disturbed


def main() -> None:
    """Exit status 1 if anything is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespaces", action="store_true", help="each part in a network namespace of its own")
    parser.add_argument("--faults", nargs="*", metavar="FAULT:PART")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    with tempfile.TemporaryDirectory(prefix="mnist-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        write_digits(folder / "digits")
        tell(f"starting, logs in {folder}")
        with running(folder, dataset=str(folder / "digits"), namespaces=options.namespaces) as cluster:
            take_apart(cluster, options.faults or (CUTS if options.namespaces else KILLS_AND_STOPS))


def take_apart(cluster: Cluster, faults: list[str]) -> None:
    """Under load, one fault after the other."""
    ask_with = partial(Asker, cluster.url, cluster.token)
    asker = ask_with()
    undisturbed = asker.learned(asker.train(LONG, UNITS))
    short = asker.train(SHORT)
    expected = asker.learned(short)
    tell("undisturbed runs have ended")
    load = Load(ask_with, asker.run(short)["param_id"])
    with load.under_way():
        for each in faults:
            load.look()
            run_id = asker.train(LONG, UNITS)
            before = asker.until(run_id, BEFORE)
            assert before["state"] == "running", f"{each}: the run ended before it could be disturbed"
            tell(f"{each}: the run is at epoch {before['epoch']}")
            disturb(cluster, *each.split(":"))
            start = time.monotonic()
            mend(cluster)
            assert asker.learned(run_id) == undisturbed, f"{each}: other parameters"
            tell(f"{each}: ended as if undisturbed, {time.monotonic() - start:.0f} s later; {load}")
    load.check_nothing_is_lost(expected)
    tell(f"{len(faults)} faults; {load}, and nothing lost")


def disturb(cluster: Cluster, fault: str, part: str) -> None:
    """Returns when the fault is over."""
    match fault:
        case "kill":
            cluster.parts[part].kill()
            time.sleep(AWAY_SECONDS)
            cluster.start_part(part)
        case "stop":
            cluster.parts[part].signal(signal.SIGSTOP)
            time.sleep(STOP_SECONDS)
            cluster.parts[part].signal(signal.SIGCONT)
        case "cut":
            pairs = list(itertools.product(*(side.split(",") for side in part.split("/"))))
            for one, other in pairs:
                cluster.network.cut(one, other)
            time.sleep(CUT_SECONDS)
            for one, other in pairs:
                cluster.network.heal(one, other)


def mend(cluster: Cluster) -> None:
    """Start what has ended because something else was away, as an operator would."""
    for part in cluster.parts.values():
        if not part.lives:
            tell(f"{part.name} is started again")
            part.kill()
            cluster.start_part(part.name)


def tell(line: str) -> None:
    """Print it, with the time."""
    print(time.strftime("%H:%M:%S"), line, flush=True)


if __name__ == "__main__":
    main()
