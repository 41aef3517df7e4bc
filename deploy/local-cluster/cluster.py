"""The parts of a whole cluster on this machine, and what they are told of each other."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from network import Network, networked
from part import Part, PartError, free_ports, listens

# In the order in which they are started.
PARTS = ("postgresql", "s3", "ray-head", "ray-node-1", "ray-node-2", "api-1", "api-2", "nginx")
BUCKET = "falcon-mnist"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": "us-east-1"}
OBJECT_STORE_BYTES = 300_000_000
# Ray's start command, as its own entry point, of the Python that runs this.
RAY = (
    sys.executable,
    "-c",
    "from ray.scripts.scripts import main; main()",
    "start",
    "--block",
    "--disable-usage-stats",
)


class Cluster:
    """PostgreSQL, S3, a Ray head and two nodes, two API servers, nginx; all files in `folder`.

    On loopback, or each part in its namespace of a `network`.
    """

    def __init__(self, folder: Path, *, dataset: str, network: Network | None = None) -> None:
        self.folder = folder
        self.token = secrets.token_urlsafe(24)
        self.parts: dict[str, Part] = {}
        self.network = network
        self._ports = dict(zip((*PARTS, "ray-client"), free_ports(len(PARTS) + 1), strict=True))
        self._s3 = CREDENTIALS | {"AWS_ENDPOINT_URL": f"http://{self._place('s3')}"}
        self._add_postgresql()
        self._add("s3", [sys.executable, "-m", "moto.server", "-H", self._host("s3"), "-p", str(self._ports["s3"])])
        self._add_ray()
        for number in (1, 2):
            self._add_server(f"api-{number}", dataset)
        self._add_nginx()

    @property
    def url(self) -> str:
        """Where nginx listens."""
        return f"http://{self._place('nginx')}"

    def start(self) -> None:
        """Start one part after the other. Raises `PartError`."""
        for name in self.parts:
            self.start_part(name)

    def start_part(self, name: str) -> None:
        """Start a part, and again those that cannot go on without what it has forgotten."""
        self.parts[name].start()
        if name == "s3":  # keeps everything in memory
            self._make_bucket()
        if name == "ray-head":
            for node in ("ray-node-1", "ray-node-2"):
                if self.parts[node].process is not None:
                    self.parts[node].kill()
                    self.parts[node].start()

    def end(self) -> None:
        """End all parts, those first that need the others."""
        for part in reversed(self.parts.values()):
            part.signal(signal.SIGCONT)
            part.end()

    def _host(self, name: str) -> str:
        """The address of a part."""
        if self.network is not None:
            return self.network.address(name)
        # Ray takes no loopback address.
        return socket.gethostbyname(socket.gethostname()) if name.startswith("ray") else "127.0.0.1"

    def _place(self, name: str) -> str:
        return f"{self._host(name)}:{self._ports[name]}"

    def _add(self, name: str, command: Sequence[str | Path], **options: object) -> None:
        if self.network is not None:
            command = [*self.network.inside(name), *command]
        ready = options.pop("ready", partial(listens, self._host(name), self._ports[name]))
        self.parts[name] = Part(name, command, self.folder / f"{name}.log", ready, **options)  # type: ignore[arg-type]

    def _add_postgresql(self) -> None:
        binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda each: float(each.parts[-2]))
        if binaries is None:
            raise PartError("PostgreSQL is not installed: apt-get install postgresql")
        data = self.folder / "postgresql"
        data.mkdir()
        as_user = []
        if os.geteuid() == 0:  # as whom it refuses to run
            shutil.chown(data, "postgres")
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        initdb = [*as_user, binaries / "initdb", "-D", data, "-A", "trust", "-U", "falcon", "--no-locale"]
        subprocess.run(initdb, cwd="/", check=True, stdout=subprocess.DEVNULL)
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet trust\n")
        host, port = self._host("postgresql"), str(self._ports["postgresql"])
        command = [*as_user, binaries / "postgres", "-D", data, "-h", host, "-p", port, "-k", data]
        answers = [binaries / "pg_isready", "-q", "-h", host, "-p", port]
        ready = lambda: subprocess.run(answers, check=False).returncode == 0  # noqa: E731
        self._add("postgresql", command, end_by=signal.SIGINT, ready=ready)

    def _add_ray(self) -> None:
        environment = self._s3 | {"RAY_USAGE_STATS_ENABLED": "0"}
        memory = f"--object-store-memory={OBJECT_STORE_BYTES}"
        ports = (f"--port={self._ports['ray-head']}", f"--ray-client-server-port={self._ports['ray-client']}")
        head = ("--head", *ports, "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self.folder}/ray")
        node = (f"--address={self._place('ray-head')}", "--num-cpus=1")
        for name, options in (("ray-head", head), ("ray-node-1", node), ("ray-node-2", node)):
            workers = ("--min-worker-port=0", "--max-worker-port=0", f"--node-ip-address={self._host(name)}")
            ready = partial(self._ray_has_started, name)
            self._add(name, [*RAY, *options, memory, *workers], environment=environment, ready=ready)

    def _ray_has_started(self, name: str) -> bool:
        return self.parts[name].has_said("Ray runtime started.")

    @property
    def _ray_address(self) -> str:
        """For servers; one in a namespace of its own is no node of the Ray cluster."""
        if self.network is not None:
            return f"ray://{self._host('ray-head')}:{self._ports['ray-client']}"
        return self._place("ray-head")

    def _add_server(self, name: str, dataset: str) -> None:
        settings = {
            "home": self.folder / name, "tokens": self.token, "dataset": dataset, "executor": "ray",
            "database_url": f"postgresql://falcon@{self._place('postgresql')}/postgres",
            "storage_url": f"s3://{BUCKET}/files", "max_queued_runs": 10_000,
        }  # fmt: skip
        environment = {f"FALCON_MNIST_{setting.upper()}": str(value) for setting, value in settings.items()}
        environment |= self._s3 | {"RAY_ADDRESS": self._ray_address}
        program = Path(sys.executable).with_name("falcon-mnist")
        command = [program, "serve", "--host", self._host(name), "--port", str(self._ports[name])]
        self._add(name, command, environment=environment, ready=partial(_answers, f"http://{self._place(name)}/readyz"))

    def _add_nginx(self) -> None:
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise PartError("nginx is not installed: apt-get install nginx")
        configuration = Path(__file__).with_name("nginx.conf").read_text()
        places = {name: self._place(name) for name in ("api-1", "api-2", "nginx")}
        for name, value in {"folder": str(self.folder), **places}.items():
            configuration = configuration.replace(f"@{name}@", value)
        file = self.folder / "nginx.conf"
        file.write_text(configuration)
        self._add("nginx", [program, "-e", "stderr", "-c", file, "-p", self.folder])

    def _make_bucket(self) -> None:
        url = f"http://{self._place('s3')}/{BUCKET}"
        with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=10):
            pass


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as response:
        return bool(response.status == 200)
    return False


@contextlib.contextmanager
def running(folder: Path, *, dataset: str, namespaces: bool = False) -> Iterator[Cluster]:
    """A whole cluster while the block runs. Raises `PartError`, and `NetworkError` where there are no namespaces."""
    with networked(PARTS) if namespaces else contextlib.nullcontext() as network:
        cluster = Cluster(folder, dataset=dataset, network=network)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.end()
