"""Small data sets, folders of them, and mirrors on the loopback that misbehave on request."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from falcon_mnist.data import digits, sources

Files = dict[str, bytes]


def idx_bytes(*, training: int, test: int) -> Files:
    """The four files, plain, with random pixels."""
    random = np.random.default_rng(training * 1000 + test)
    files = {}
    for part, count in (("train", training), ("t10k", test)):
        rows = count.to_bytes(4, "big")
        pixels = random.integers(0, 256, count * 784, np.uint8).tobytes()
        sizes = (28).to_bytes(4, "big") * 2
        files[f"{part}-images-idx3-ubyte"] = b"\x00\x00\x08\x03" + rows + sizes + pixels
        files[f"{part}-labels-idx1-ubyte"] = b"\x00\x00\x08\x01" + rows + bytes(i % 10 for i in range(count))
    return files


@pytest.fixture
def files() -> Files:
    return idx_bytes(training=50, test=20)


@pytest.fixture
def other_files() -> Files:
    return idx_bytes(training=51, test=20)


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    def write(files: Files, *, dotted: bool = False, packed: bool = False, only: str = "") -> Path:
        """Write files into a folder; `only` restricts the spelling and packing to names that hold it."""
        folder = tmp_path / "folder"
        folder.mkdir(exist_ok=True)
        for name, data in files.items():
            chosen = only in name
            spelled = name.replace("-idx", ".idx") if dotted and chosen else name
            if packed and chosen:
                (folder / f"{spelled}.gz").write_bytes(gzip.compress(data, 1))
            else:
                (folder / spelled).write_bytes(data)
        return folder

    return write


@pytest.fixture
def drawn() -> list[int]:
    """The batches that `drawing` has drawn."""
    return []


@pytest.fixture
def drawing(drawn: list[int]) -> digits.Drawing:
    """Synthetic sets of 400 and 200 digits, noise in place of the drawing, which takes its time."""

    def draw(batch: int) -> tuple[np.ndarray, np.ndarray]:
        drawn.append(batch)
        random = np.random.default_rng(batch)
        return random.integers(0, 256, (200, 784), np.uint8), random.integers(0, 10, 200, np.uint8)

    return digits.Drawing(draw, training=400, test=200, batch=200)


@dataclass
class Mirror:
    """A mirror's files, how it sends them, and the requests it got, as (file, Range)."""

    files: Files
    url: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    status: int = 200
    ranges: bool = True
    wrong_range: bool = False
    # Never answers at all, or never to the end: a byte every 10 ms.
    silent: bool = False
    trickles: bool = False
    # After so many bytes of a file, for so many requests: close the connection, or (stall) say no more.
    cut_after: int | None = None
    cuts_left: int = 10**6
    stall: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    def source(self, *others: Mirror, files: Files | None = None, **limits: float) -> sources.Source:
        """The source of this mirror and others, whose right files are those of the last, or `files`."""
        mirrors = (self, *others)
        right = files or mirrors[-1].files
        sha256 = {name: hashlib.sha256(data).hexdigest() for name, data in right.items()}
        return sources.Source([mirror.url for mirror in mirrors], sha256, **limits)


@pytest.fixture
def start_mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Mirror]]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    started = []

    def start(files: Files, **behaviour: object) -> Mirror:
        mirror = Mirror({f"{name}.gz": gzip.compress(data, 1) for name, data in files.items()}, **behaviour)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(mirror))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        mirror.url = f"http://127.0.0.1:{server.server_port}/"
        mirror.files |= files  # under their plain names, for `source`
        started.append((mirror, server, thread))
        return mirror

    yield start
    for mirror, server, thread in started:
        mirror.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(mirror: Mirror) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, wanted = self.path[1:], self.headers["Range"]
            mirror.requests.append((name, wanted))
            if mirror.silent:
                mirror.over.wait()
                return
            while mirror.trickles and not mirror.over.wait(0.01):
                self.wfile.write(b"H")
            data, start = mirror.files[name], 0
            status = mirror.status
            if wanted and mirror.ranges:
                start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
            self.send_response(status)
            self.send_header("Content-Length", str(len(data) - start))
            if status == 206:
                first = start + 1 if mirror.wrong_range else start
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            body = data[start:]
            if mirror.cut_after is not None and len(body) > mirror.cut_after and mirror.cuts_left:
                mirror.cuts_left -= 1
                self.wfile.write(body[: mirror.cut_after])
                if mirror.stall:
                    mirror.over.wait()
                return
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
