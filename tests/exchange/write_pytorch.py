"""Trains a small network in PyTorch and writes what the tests bring: its file, and its answers to some digits.

    python tests/exchange/write_pytorch.py FOLDER_WITH_MNIST

Needs torch and MNIST, which the tests do not.
"""

import json
import sys
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from falcon_mnist.data import dataset

HERE = Path(__file__).parent
ROWS = 8


def inked(rows: int) -> np.ndarray:
    """Bytes of which, as in digits, four in five are 0."""
    random = np.random.default_rng(1)
    return random.integers(0, 256, (rows, 784), dtype=np.uint8) * (random.random((rows, 784)) < 0.2)


def main(folder: str) -> None:
    """Two epochs of Adam; tanh, so that the activation matters everywhere."""
    torch.manual_seed(1)
    data = dataset.load(folder, Path(folder))
    images = torch.tensor(np.asarray(data.train_images), dtype=torch.float32).reshape(-1, 784) / 255
    labels = torch.tensor(np.asarray(data.train_labels), dtype=torch.int64)
    network = torch.nn.Sequential(torch.nn.Linear(784, 12), torch.nn.Tanh(), torch.nn.Linear(12, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(2):
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    safetensors.torch.save_file(network.state_dict(), HERE / "pytorch.safetensors")
    rows = inked(ROWS)
    with torch.no_grad():
        logits = network(torch.tensor(rows, dtype=torch.float32) / 255)
    (HERE / "pytorch_logits.json").write_text(json.dumps(logits.tolist()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
