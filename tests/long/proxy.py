"""Two servers on one home behind nginx with TLS, just as docs/operations.md says ("Several servers on one home").

    python -m tests.long proxy [--seconds 10]      # needs nginx and openssl; a minute

The example is taken from that document; only ports and paths are changed. Through the proxy a model is created and
trained, then threads send requests of several kinds and sizes. Any answer that is not the one that a server
gives directly, or any error, ends the program; also while one server is stopped, and after the other was killed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import load
import numpy as np
import orjson
from server_process import cpu_seconds

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
EPOCHS = 3


def section() -> str:
    """The part of the document that is tried."""
    return OPERATIONS.read_text().split("\n## Several servers on one home\n")[1].split("\n## ")[0]


def example(folder: Path, ports: dict[int, int]) -> str:
    """The document's nginx example with other ports, and with the certificate in `folder`."""
    (text,) = re.findall(r"```nginx\n(.*?)```", section(), re.DOTALL)
    for written, port in ports.items():
        text, count = re.subn(rf"(?<=[ :]){written}\b(?=[ ;])", str(port), text)
        assert count, f"port {written} is not in the example"
    return re.sub(r"/\S+/(mnist\.\w+);", rf"{folder}/\1;", text).replace("listen ", "listen 127.0.0.1:")


def certificate(folder: Path) -> None:
    """The document's self-signed certificate, in `folder`."""
    (command,) = re.findall(r"^\$ (openssl .*)$", section(), re.MULTILINE)
    subprocess.run(shlex.split(command), cwd=folder, check=True, capture_output=True)


@contextlib.contextmanager
def nginx(folder: Path, ports: dict[int, int]) -> Iterator[str]:
    """nginx with the example and nothing else; gives the URL that it is at."""
    certificate(folder)
    scratch = "\n".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""  # its workers must be able to read the folder
    frame = f"daemon off; {user} pid {folder}/pid; error_log stderr warn; events {{}}\nhttp {{ access_log off;\n"
    (folder / "nginx.conf").write_text(f"{frame}{scratch}\n{example(folder, ports)}}}\n")
    base = f"https://localhost:{ports[443]}"
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(["nginx", "-p", folder, "-c", folder / "nginx.conf"], stdout=log, stderr=log)
        try:
            for _ in range(100):
                with contextlib.suppress(httpx.TransportError), client(base, folder) as probe:
                    probe.get("/readyz").raise_for_status()
                    break
                if process.poll() is not None:
                    break
                time.sleep(0.05)
            else:
                process.terminate()
            if process.poll() is not None:
                sys.exit(f"nginx did not start:\n{(folder / 'log').read_text()}")
            yield base
        finally:
            process.terminate()
            process.wait(timeout=30)


def client(base: str, folder: Path) -> httpx.Client:
    """A client that trusts the certificate in `folder` and no other."""
    trusted = ssl.create_default_context(cafile=folder / "mnist.crt")
    headers = {"Authorization": f"Bearer {load.TOKEN}"}
    return httpx.Client(base_url=base, headers=headers, verify=trusted, timeout=60, trust_env=False)


def requests(param_id: str) -> list[dict[str, object]]:
    """Arguments of `httpx.Client.request` for inferences of several kinds and sizes, no two alike."""
    random = np.random.default_rng(1)
    made: list[dict[str, object]] = []
    for rows in (1, 2, 3, 64, 512):
        images = random.integers(0, 256, (rows, 784), dtype=np.uint8)
        document = {"param_id": param_id, "inputs": images / np.float32(255)}
        body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        made.append({"content": body, "headers": {"Content-Type": load.JSON}})
        query = {"param_id": param_id, "dtype": "uint8"}
        made.append({"content": images.tobytes(), "params": query, "headers": {"Content-Type": load.BINARY}})
    return [{"method": "POST", "url": "/api/infer"} | request for request in made]


def outputs(http_client: httpx.Client, request: dict[str, object]) -> object:
    """What a server answers, but for the time it took."""
    return http_client.request(**request).raise_for_status().json()["outputs"]  # type: ignore[arg-type]


def drive(base: str, folder: Path, param_id: str, expected: list[object], seconds: float, threads: int = 8) -> Counter:
    """Send all requests over and over in threads; counts what was answered, and what was wrong."""
    seen: Counter = Counter()
    end = time.monotonic() + seconds

    def send(first: int) -> None:
        asked = requests(param_id)
        with client(base, folder) as http_client:
            turn = first
            while time.monotonic() < end:
                index = turn % len(asked)
                try:
                    right = outputs(http_client, asked[index]) == expected[index]
                    seen["right" if right else "mixed up"] += 1
                except httpx.HTTPError as error:
                    seen[f"failed: {error!r}"] += 1
                turn += 1

    started = [threading.Thread(target=send, args=[number]) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return seen


def while_server_is_lost(by: signal.Signals, process: int, drive: Callable[[], Counter]) -> Counter:
    """What `drive` counts while a signal stops or kills a server; a stopped one continues afterwards."""
    loss = threading.Timer(1, os.kill, [process, by])
    loss.start()
    try:
        return drive()
    finally:
        loss.join()
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


def main() -> None:
    """Start everything, train and infer through the proxy, say what was answered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--dataset", default="synthetic", help="as FALCON_MNIST_DATASET")
    options = parser.parse_args()
    missing = [program for program in ("nginx", "openssl") if not shutil.which(program)]
    if missing:
        sys.exit(f"{' and '.join(missing)} must be installed for this")
    os.environ |= {"FALCON_MNIST_DATASET": options.dataset, "FALCON_MNIST_TOKENS": load.TOKEN}
    os.environ["FALCON_MNIST_WORKERS"] = "1"
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        os.environ["FALCON_MNIST_HOME"] = str(folder / "home")
        ports = {written: load.free_port() for written in (8001, 8002, 443, 80)}
        program = str(Path(sys.executable).parent / "falcon-mnist")
        servers = [
            stack.enter_context(load.started([program, "serve", "--port", str(port)], port, "/readyz"))
            for port in (ports[8001], ports[8002])
        ]
        base = stack.enter_context(nginx(folder, ports))
        proxied = stack.enter_context(client(base, folder))
        plain = httpx.get(f"http://localhost:{ports[80]}/readyz", trust_env=False)
        assert (plain.status_code, plain.headers["Location"]) == (308, "https://localhost/readyz"), plain
        run = load.wait_for(proxied, load.start_run(proxied, load.ARCHITECTURE, epochs=EPOCHS), "succeeded")
        assert [epoch["epoch"] for epoch in run["history"]] == list(range(1, EPOCHS + 1))  # type: ignore[attr-defined]
        param_id = str(run["param_id"])
        answers = []
        for address, _ in servers:
            with load.client(address) as direct:
                answers.append([outputs(direct, request) for request in requests(param_id)])
        assert answers[0] == answers[1]
        before = [cpu_seconds(pid) for _, pid in servers]
        seen = drive(base, folder, param_id, answers[0], options.seconds)
        used = [cpu_seconds(pid) - start for (_, pid), start in zip(servers, before, strict=True)]
        complaints = (folder / "log").read_text()
        assert not complaints, complaints
        (_, first), (_, second) = servers
        with_one = [
            while_server_is_lost(
                signal.SIGSTOP, first, partial(drive, base, folder, param_id, answers[0], options.seconds)
            ),
            while_server_is_lost(
                signal.SIGKILL, second, partial(drive, base, folder, param_id, answers[0], options.seconds)
            ),
        ]
    print(
        f"{seen['right']} right answers through nginx with TLS, {sum(seen.values()) - seen['right']} others", end="; "
    )
    print(f"the servers used {used[0]:.1f} and {used[1]:.1f} s of CPU time")
    print(f"{with_one[0]['right']} while one was stopped, {with_one[1]['right']} after the other was killed")
    if any(set(each) != {"right"} for each in with_one):
        sys.exit(f"a server that was lost was noticed: {with_one}")
    if set(seen) != {"right"} or min(used) < 0.1 * max(used):
        sys.exit(f"that is not as it should be: {dict(seen)}")


if __name__ == "__main__":
    main()
