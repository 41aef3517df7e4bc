"""What the compiled kernels offer to Python; shapes and rules stand in the docstrings of kernels/interface."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float32]
_Bytes = npt.NDArray[np.uint8]
_Rows = npt.NDArray[np.int64]
_Images = _Bytes | _Floats

class UnsupportedIsaError(ImportError): ...

def supported() -> tuple[str, ...]: ...
def variant(name: str) -> Variant: ...
def isa() -> str: ...

MAX_THREADS: int

class Variant:
    """The functions and classes of this module, for one instruction set."""

    @property
    def isa(self) -> str: ...
    def __getattr__(self, name: str) -> Any: ...

class Optimizer:
    @property
    def kind(self) -> str: ...
    @property
    def state(self) -> tuple[str, ...]: ...
    def __init__(self, kind: str, **params: float) -> None: ...

class Network:
    @property
    def layers(self) -> tuple[tuple[str, int, int], ...]: ...
    @property
    def slices(self) -> tuple[tuple[int, tuple[int, int], int], ...]: ...
    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    @property
    def parameter_count(self) -> int: ...
    @property
    def micro_batch_rows(self) -> int: ...
    def __init__(self, layers: Iterable[tuple[str, int, int]], *, variant: Variant | None = None) -> None: ...
    def training_rows(self, batch_size: int) -> int: ...
    def pack(self, parameters: _Floats) -> Packed: ...
    def forward(
        self,
        parameters: _Floats | Packed,
        inputs: _Images,
        out: _Floats,
        workspace: Workspace,
        second: Workspace | None = None,
    ) -> _Floats: ...
    def evaluate(
        self,
        parameters: _Floats | Packed,
        images: _Images,
        labels: _Bytes,
        order: _Rows | None,
        workspace: Workspace,
        stop: _Bytes | None = None,
        *,
        threads: int = 1,
    ) -> tuple[int, float, int]: ...
    def gradients(
        self,
        parameters: _Floats | Packed,
        images: _Images,
        labels: _Bytes,
        order: _Rows | None,
        out: _Floats,
        workspace: Workspace,
        *,
        threads: int = 1,
    ) -> tuple[float, int]: ...
    def train(
        self,
        parameters: _Floats,
        state: dict[str, _Floats],
        batches: Batches,
        steps: Steps,
        workspace: Workspace,
        stop: _Bytes | None = None,
        *,
        threads: int = 1,
        loss: float = 0.0,
    ) -> tuple[int, float, int]: ...

class Batches(NamedTuple):
    images: _Images
    labels: _Bytes
    order: _Rows | None
    batch_size: int

class Steps(NamedTuple):
    optimizer: Optimizer
    learning_rates: _Floats
    first_step: int = 0
    smoothing: float = 0.0
    noise: Noise | None = None
    epoch: int = 0

class Noise:
    @property
    def draws_rows(self) -> bool: ...
    def __init__(
        self,
        *,
        seed: int = 0,
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        augmentation: Mapping[str, float] | None = None,
    ) -> None: ...

class Packed:
    @property
    def network(self) -> Network: ...
    @property
    def nbytes(self) -> int: ...
    def __init__(self, network: Network, parameters: _Floats | None) -> None: ...

class Workspace:
    @property
    def network(self) -> Network: ...
    @property
    def rows(self) -> int: ...
    @property
    def training(self) -> bool: ...
    @property
    def busy(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    def __init__(self, network: Network, rows: int, *, training: bool = False) -> None: ...

def gemm(a: _Floats, b: _Floats, out: _Floats | None = None, *, alpha: float = 1.0, beta: float = 0.0) -> _Floats: ...
def relu(x: _Floats, out: _Floats | None = None) -> _Floats: ...
def relu_backward(y: _Floats, d_y: _Floats, out: _Floats | None = None) -> _Floats: ...
def sigmoid(x: _Floats, out: _Floats | None = None) -> _Floats: ...
def sigmoid_backward(y: _Floats, d_y: _Floats, out: _Floats | None = None) -> _Floats: ...
def tanh(x: _Floats, out: _Floats | None = None) -> _Floats: ...
def tanh_backward(y: _Floats, d_y: _Floats, out: _Floats | None = None) -> _Floats: ...
def softmax(x: _Floats, out: _Floats | None = None) -> _Floats: ...
def argmax(x: _Floats) -> _Rows: ...
def softmax_backward(y: _Floats, d_y: _Floats, out: _Floats | None = None) -> _Floats: ...
def softmax_cross_entropy(
    logits: _Floats, labels: _Bytes, d_logits: _Floats | None = None, *, smoothing: float = 0.0
) -> tuple[float, int]: ...
def add_bias(x: _Floats, bias: _Floats) -> _Floats: ...
def bias_backward(d_y: _Floats, out: _Floats | None = None) -> _Floats: ...
def apply_update(
    parameters: _Floats,
    gradients: _Floats,
    state: dict[str, _Floats],
    optimizer: Optimizer,
    learning_rate: float,
    *,
    step: int = 0,
) -> None: ...
def augment(
    images: _Bytes,
    order: _Rows | None,
    out: _Bytes,
    *,
    seed: int,
    epoch: int,
    threads: int = 1,
    **distortion: float,
) -> _Bytes: ...
def random_words(key: Sequence[int], counter: Sequence[int], count: int) -> npt.NDArray[np.uint32]: ...
def fma_peak(iterations: int) -> tuple[int, float]: ...
def cache_bandwidth(iterations: int) -> tuple[int, float]: ...
def narrow(doubles: npt.NDArray[np.float64], out: _Floats) -> bool: ...
def within(x: _Floats, high: float) -> bool: ...
def read_json(
    text: bytes,
    *,
    numeric: Container[str],
    scalar: Callable[[bytes], Any],
    fault: Callable[[tuple[int, ...], int | None, Any], Any] | None = None,
    most_numbers: int,
    most_hard: int,
    most_values: int,
    most_members: int,
) -> Any: ...

class TooManyError(Exception): ...
