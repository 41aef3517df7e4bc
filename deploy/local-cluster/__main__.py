"""A whole cluster on this machine: `python deploy/local-cluster`. docs/cluster.md says what it holds."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from cluster import Cluster, running
from network import NetworkError
from part import PartError

LOOK_SECONDS = 1.0


def main() -> None:
    """Start it, say where it is, and keep it until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="synthetic", help="as FALCON_MNIST_DATASET")
    parser.add_argument("--namespaces", action="store_true", help="each part in a network namespace; needs root")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with tempfile.TemporaryDirectory(prefix="mnist-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)  # PostgreSQL's user goes through it
        print("Starting; this takes half a minute.", flush=True)
        try:
            with running(folder, dataset=options.dataset, namespaces=options.namespaces) as cluster:
                describe(cluster)
                keep(cluster)
        except (NetworkError, PartError) as error:
            sys.exit(f"local-cluster: {error}")
        except KeyboardInterrupt:
            print("Ended.")


def describe(cluster: Cluster) -> None:
    """Print how to use it."""
    print(f"Serving at {cluster.url}/api\nPage: {cluster.url}/#token={cluster.token}\nLogs: {cluster.folder}/*.log")
    for part in cluster.parts.values():
        print(f"  {part.name:<12} process {part.process.pid if part.process else ''}")
    print(
        "Kill any of them but s3, which keeps its objects in memory: it is started again. Ctrl-C ends all.", flush=True
    )


def keep(cluster: Cluster) -> None:
    """Start again what has ended, as an operator or Kubernetes would."""
    while True:
        for part in cluster.parts.values():
            if not part.lives:
                part.kill()  # what it has started
                cluster.start_part(part.name)
                print(f"{part.name} was started again: process {part.process.pid if part.process else ''}", flush=True)
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main()
