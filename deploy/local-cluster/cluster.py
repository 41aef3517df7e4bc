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
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from part import Part, PartError, free_ports, listens

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
NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    upstream falcon_mnist {{
        server 127.0.0.1:{api_1} max_fails=1 fail_timeout=2s;
        server 127.0.0.1:{api_2} max_fails=1 fail_timeout=2s;
        keepalive 8;
    }}
    server {{
        listen 127.0.0.1:{nginx};
        client_max_body_size 64m;
        location / {{
            proxy_pass http://falcon_mnist;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_connect_timeout 2s;
            proxy_read_timeout 20s;
        }}
    }}
}}
"""


class Cluster:
    """PostgreSQL, S3, a Ray head and two nodes, two API servers, nginx; all files in `folder`."""

    def __init__(self, folder: Path, *, dataset: str) -> None:
        self.folder = folder
        self.token = secrets.token_urlsafe(24)
        self.parts: dict[str, Part] = {}
        names = ("postgresql", "s3", "ray-head", "ray-client", "api-1", "api-2", "nginx")
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._host = socket.gethostbyname(socket.gethostname())  # Ray takes no loopback address
        self._s3 = CREDENTIALS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._ports['s3']}"}
        self._add_postgresql()
        self._add("s3", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._ports["s3"])])
        self._add_ray()
        for number in (1, 2):
            self._add_server(f"api-{number}", dataset)
        self._add_nginx()

    @property
    def url(self) -> str:
        """Where nginx listens."""
        return f"http://127.0.0.1:{self._ports['nginx']}"

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

    def _add(self, name: str, command: list[str | Path], **options: object) -> None:
        ready = options.pop("ready", partial(listens, "127.0.0.1", self._ports.get(name, 0)))
        self.parts[name] = Part(name, command, self.folder / f"{name}.log", ready, **options)  # type: ignore[arg-type]

    def _add_postgresql(self) -> None:
        binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda each: float(each.parts[-2]))
        if binaries is None:
            raise PartError("PostgreSQL is not installed: apt-get install postgresql")
        user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        data = self.folder / "postgresql"
        data.mkdir()
        if user:
            shutil.chown(data, user)
        initdb = [binaries / "initdb", "-D", data, "-A", "trust", "-U", "falcon", "--no-locale"]
        subprocess.run(initdb, user=user, cwd="/", check=True, stdout=subprocess.DEVNULL)
        port = str(self._ports["postgresql"])
        command = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", port, "-k", data]
        answers = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", port]
        ready = lambda: subprocess.run(answers, check=False).returncode == 0  # noqa: E731
        self._add("postgresql", command, user=user, end_by=signal.SIGINT, ready=ready)

    def _add_ray(self) -> None:
        environment = self._s3 | {"RAY_USAGE_STATS_ENABLED": "0"}
        memory = f"--object-store-memory={OBJECT_STORE_BYTES}"
        workers = ("--min-worker-port=0", "--max-worker-port=0", f"--node-ip-address={self._host}")
        ports = (f"--port={self._ports['ray-head']}", f"--ray-client-server-port={self._ports['ray-client']}")
        head = [
            *(*RAY, "--head", *ports, "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self.folder}/ray"),
            *("--disable-usage-stats", memory, *workers),
        ]
        ready = partial(listens, self._host, self._ports["ray-head"])
        self._add("ray-head", head, environment=environment, ready=ready)
        node = [*RAY, f"--address={self._ray}", "--num-cpus=1", memory, *workers]
        for number in (1, 2):
            self._add(f"ray-node-{number}", node, environment=environment, ready=partial(self._has_raylet, number))

    @property
    def _ray(self) -> str:
        return f"{self._host}:{self._ports['ray-head']}"

    def _has_raylet(self, number: int) -> bool:
        commands = (Path(f"/proc/{pid}/cmdline") for pid in self.parts[f"ray-node-{number}"].processes())
        return any(b"raylet_socket" in command.read_bytes() for command in commands if command.exists())

    def _add_server(self, name: str, dataset: str) -> None:
        settings = {
            "home": self.folder / name, "tokens": self.token, "dataset": dataset, "executor": "ray",
            "database_url": f"postgresql://falcon@127.0.0.1:{self._ports['postgresql']}/postgres",
            "storage_url": f"s3://{BUCKET}/files", "max_queued_runs": 10_000,
        }  # fmt: skip
        environment = {f"FALCON_MNIST_{setting.upper()}": str(value) for setting, value in settings.items()}
        environment |= self._s3 | {"RAY_ADDRESS": self._ray}
        port = self._ports[name]
        command = [Path(sys.executable).with_name("falcon-mnist"), "serve", "--port", str(port)]
        self._add(name, command, environment=environment, ready=partial(_answers, f"http://127.0.0.1:{port}/readyz"))

    def _add_nginx(self) -> None:
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise PartError("nginx is not installed: apt-get install nginx")
        ports = {name.replace("-", "_"): port for name, port in self._ports.items()}
        file = self.folder / "nginx.conf"
        file.write_text(NGINX.format(folder=self.folder, **ports))
        self._add("nginx", [program, "-e", "stderr", "-c", file, "-p", self.folder])

    def _make_bucket(self) -> None:
        url = f"http://127.0.0.1:{self._ports['s3']}/{BUCKET}"
        with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=10):
            pass


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as response:
        return bool(response.status == 200)
    return False


@contextlib.contextmanager
def running(folder: Path, *, dataset: str) -> Iterator[Cluster]:
    """A whole cluster while the block runs. Raises `PartError`."""
    cluster = Cluster(folder, dataset=dataset)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
