"""What the Open Inference Protocol costs over our own binary `/infer`: the same rows, in turns, over one connection.

    cd bench; python open_inference.py

Both carry float32 rows as bytes and answer probabilities and labels: ours as JSON, the protocol's as binary data.
"""

import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from falcon_mnist.app import open_service
from falcon_mnist.data import dataset
from falcon_mnist.server.serve import running
from falcon_mnist.settings import Settings
from falcon_mnist.training import network
from falcon_mnist.training.hyperparams import Hyperparams

ROUNDS = 400
TOKEN = "the-token-of-this-benchmark"
LAYERS = [{"type": "linear", "in": 784, "out": 128}, {"type": "relu"}, {"type": "linear", "in": 128, "out": 10}]
ARCHITECTURE = {"input_size": 784, "layers": LAYERS}


def main() -> None:
    """Print median milliseconds of both, and the median of their ratios, for some numbers of rows."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), tokens=(TOKEN,), dataset="synthetic")
        service = open_service(settings)
        net = network.build(ARCHITECTURE)
        written = service.files.write("p_0", ARCHITECTURE, network.initial_parameters(net, 1))
        service.store.import_parameters("p_0", ARCHITECTURE, Hyperparams().model_dump(), written)
        images = np.asarray(dataset.load("synthetic", Path(home)).test_images).reshape(-1, 784)
        with running(service) as url:
            connection = http.client.HTTPConnection(url.removeprefix("http://"))
            connection.connect()
            for rows in (1, 8, 64, 512):
                compare(connection, (images[:rows] / np.float32(255)).astype("<f4"))


def compare(connection: http.client.HTTPConnection, rows: np.ndarray) -> None:
    """Both in turns, after some of each that do not count."""
    data = rows.tobytes()
    tensor = {"name": "pixels", "datatype": "FP32", "shape": list(rows.shape)}
    tensor["parameters"] = {"binary_data_size": len(data)}
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in ("probabilities", "labels")]
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    ours = ("/api/infer?param_id=p_0&dtype=float32", data, {"Content-Type": "application/octet-stream"})
    theirs = ("/v2/models/p_0/infer", head + data, {"Inference-Header-Content-Length": str(len(head))})
    for _ in range(20):
        ask(connection, *ours)
        ask(connection, *theirs)
    pairs = [(ask(connection, *ours), ask(connection, *theirs)) for _ in range(ROUNDS)]
    first, second = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
    ratio = statistics.median(two / one for one, two in pairs)
    print(f"{len(rows):4} rows: ours {first:.3f} ms, the protocol's {second:.3f} ms, {ratio:.2f} times", flush=True)


def ask(connection: http.client.HTTPConnection, path: str, body: bytes, headers: Mapping[str, str]) -> float:
    """Seconds that an answer takes."""
    start = time.perf_counter()
    connection.request("POST", path, body, {"Authorization": f"Bearer {TOKEN}"} | headers)
    response = connection.getresponse()
    response.read()
    assert response.status == 200
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
