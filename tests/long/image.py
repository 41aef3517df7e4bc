"""The steps of deploy/Dockerfile in a fresh Debian root, and the server that they make, on a read-only file system.

    python -m tests.long image [--root FOLDER]     # as root, on Debian; needs debootstrap, or what it made before

It needs no Docker: `FROM` is a copy of that root, `RUN` is chroot, and the server runs in a mount namespace of its own,
with one volume, /tmp in memory, no capability, and the port that the file exposes. A model is trained there, the server
is ended with SIGTERM, and started again on the same volume, where it must know the model. Not tried are the layers and
the base image of Docker's own registry.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
MODEL = {
    "architecture": {"input_size": 784, "layers": [{"type": "linear", "in": 784, "out": 10}]},
    "hyperparams": {"epochs": 1},
}
# $1 is the root, $2 the folder of the volume, $3 where it belongs, $4 the user; the command follows.
CONTAINER = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t tmpfs tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1$3"
root=$1 user=$4
shift 4
exec chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs --bounding-set=-all \
    --inh-caps=-all "$@"
"""


class Image:
    """What the instructions of a Dockerfile's last stage make: a root, and how to start its command."""

    def __init__(self, base: Path, folder: Path) -> None:
        self._base, self._folder = base, folder
        self._stages: dict[str, Path] = {}
        self.root = folder
        self.said: dict[str, list[str]] = defaultdict(list)

    def build(self, dockerfile: str) -> None:
        """Carry out every instruction."""
        for line in dockerfile.replace("\\\n", " ").splitlines():
            if line and not line.startswith("#"):
                print(line, flush=True)
                instruction, _, rest = line.partition(" ")
                getattr(self, f"_{instruction.lower()}", self._say(instruction))(rest)

    def environment(self) -> list[str]:
        """What `ENV` said, and how this machine reaches its package registry."""
        registry = [f"{name}={value}" for name, value in os.environ.items() if name in ("PIP_CERT", "PIP_INDEX_URL")]
        return ["env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *registry, *self.said["ENV"]]

    def one(self, instruction: str) -> str:
        """What the last such instruction said."""
        return self.said[instruction][-1]

    def _say(self, instruction: str) -> Callable[[str], None]:
        return self.said[instruction].append

    def _from(self, rest: str) -> None:
        name = rest.split(" AS ")[-1]
        self.root = self._stages[name] = self._folder / f"stage-{len(self._stages)}"
        self.said.clear()
        subprocess.run(["cp", "-a", self._base, self.root], check=True)

    def _run(self, rest: str) -> None:
        command = ["chroot", self.root, *self.environment(), "sh", "-c", rest]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def _copy(self, rest: str) -> None:
        source, target = rest.split()[-2:]
        stage = rest.split()[0].removeprefix("--from=") if rest.startswith("--from=") else ""
        place = self.root / target.lstrip("/")
        if stage:
            subprocess.run(["cp", "-a", self._stages[stage] / source.lstrip("/"), place], check=True)
        elif source == ".":
            for name in let_through():
                copy(ROOT / name, place / name)
        else:
            copy(ROOT / source, place)


def let_through() -> list[str]:
    """What .dockerignore lets through."""
    return [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]


def copy(source: Path, target: Path) -> None:
    """A file or a folder, without what no build may use."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    else:
        shutil.copy(source, target)


@contextmanager
def running(image: Image, volume: Path) -> Iterator[str]:
    """The image's command on a volume, healthy; gives its URL, and ends it as `docker stop` does."""
    user = subprocess.run(
        ["chroot", image.root, "id", "-u", image.one("USER")], check=True, capture_output=True, text=True
    ).stdout.strip()
    os.chown(volume, int(user), int(user))
    command = [*image.environment(), *json.loads(image.one("CMD"))]
    container = ["sh", "-c", CONTAINER, "container", image.root, volume, image.one("VOLUME"), user, *command]
    server = subprocess.Popen(["unshare", "--mount", *container])
    try:
        wait(lambda: healthy(image) or server.poll() is not None, "it is healthy")
        assert server.poll() is None
        yield f"http://127.0.0.1:{image.one('EXPOSE')}/api"
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


def healthy(image: Image) -> bool:
    """What the image's own check says."""
    check = json.loads(image.one("HEALTHCHECK").partition(" CMD ")[2])
    return subprocess.run(["chroot", image.root, *image.environment(), *check], check=False).returncode == 0


def wait(condition: Callable[[], bool], what: str) -> None:
    """Until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.5)


def main() -> None:
    """Build, train, end, start again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(tempfile.gettempdir()) / "falcon-mnist-debian")
    base = parser.parse_args().root
    if not base.exists():
        bring = shlex.split("debootstrap --variant=minbase --include=ca-certificates,python3-venv,python3-dev trixie")
        subprocess.run([*bring, base], check=True, stdout=subprocess.DEVNULL)
        (base / "usr/bin/python").symlink_to("python3")
        for file in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
            shutil.copy(f"/{file}", base / file)
    with tempfile.TemporaryDirectory(dir=base.parent) as scratch:
        image, volume = Image(base, Path(scratch)), Path(scratch, "volume")
        volume.mkdir()
        image.build((ROOT / "deploy/Dockerfile").read_text())
        assert not healthy(image)
        with running(image, volume) as url:
            client = httpx.Client(headers={"Authorization": f"Bearer {(volume / 'token').read_text().strip()}"})
            model = client.post(f"{url}/models", json=MODEL).json()["model_id"]
            run = client.post(f"{url}/models/{model}/train").json()["run_id"]
            wait(lambda: client.get(f"{url}/runs/{run}").json()["state"] == "succeeded", "the run has succeeded")
        with running(image, volume) as url:
            assert client.get(f"{url}/runs/{run}").json()["state"] == "succeeded"
        written = subprocess.run(["find", image.root, "-newer", volume / "token", "-type", "f"], capture_output=True)
        assert not written.stdout, written.stdout.decode()
    print("The image builds, serves, trains, ends within its time, and knows its runs when it starts again.")


if __name__ == "__main__":
    sys.exit(main())
