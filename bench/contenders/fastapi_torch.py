"""What a user would otherwise pick for `/infer`: FastAPI, pydantic models and PyTorch, written the usual way.

    CONTENDER_PARAMETERS=parameters.safetensors uvicorn fastapi_torch:app

It answers the same bodies with the same members, for networks of linear and relu layers, to any bearer token.
"""

import os
import time
from typing import Annotated, Literal

import torch
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field
from safetensors.torch import load_file

torch.set_num_threads(1)  # on two virtual cores more threads only make it slower

Row = Annotated[list[float], Field(min_length=784, max_length=784)]
Rows = Annotated[list[Row], Field(min_length=1, max_length=512)]


class Returns(BaseModel):
    logits: bool = False
    probabilities: bool = True
    labels: bool = True


class Infer(BaseModel):
    param_id: str
    inputs: Rows
    returns: Returns = Field(default=Returns(), alias="return")


class LayerParameters(BaseModel):
    type: Literal["linear", "relu"]
    W: list[list[float]] | None = None
    b: list[float] | None = None


class Parameters(BaseModel):
    layers: list[LayerParameters]
    dtype: Literal["float32"]
    layout: Literal["row_major"]


class InferAdhoc(BaseModel):
    architecture: dict[str, object]
    parameters: Parameters
    inputs: Rows
    returns: Returns = Field(default=Returns(), alias="return")


def sequential(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.nn.Sequential:
    """Linear layers with relu between them; each W is (in, out)."""
    layers: list[torch.nn.Module] = []
    for weight, bias in pairs:
        linear = torch.nn.utils.skip_init(torch.nn.Linear, *weight.shape)
        with torch.no_grad():
            linear.weight.copy_(weight.T)
            linear.bias.copy_(bias)
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).eval()


def stored() -> torch.nn.Sequential:
    tensors = load_file(os.environ["CONTENDER_PARAMETERS"])
    count = len(tensors) // 2
    return sequential([(tensors[f"linear.{i}.W"], tensors[f"linear.{i}.b"]) for i in range(count)])


app = FastAPI(dependencies=[Depends(HTTPBearer())])
model = stored()


def outputs(network: torch.nn.Module, rows: list[list[float]], returns: Returns) -> dict[str, object]:
    x = torch.tensor(rows, dtype=torch.float32)
    start = time.perf_counter()
    with torch.inference_mode():
        logits = network(x)
    milliseconds = (time.perf_counter() - start) * 1e3
    found: dict[str, object] = {}
    if returns.labels:
        found["labels"] = logits.argmax(dim=1).tolist()
    if returns.probabilities:
        found["probabilities"] = torch.softmax(logits, dim=1).tolist()
    if returns.logits:
        found["logits"] = logits.tolist()
    return {"outputs": found, "latency_ms": milliseconds}


@app.post("/api/infer")
def infer(body: Infer) -> dict[str, object]:
    return {"model_id": "", "param_id": body.param_id} | outputs(model, body.inputs, body.returns)


@app.post("/api/infer_adhoc")
def infer_adhoc(body: InferAdhoc) -> dict[str, object]:
    linear = [layer for layer in body.parameters.layers if layer.type == "linear"]
    if any(layer.W is None or layer.b is None for layer in linear):
        raise HTTPException(400, "a linear layer has W and b")
    pairs = [(torch.tensor(layer.W), torch.tensor(layer.b)) for layer in linear]
    return outputs(sequential(pairs), body.inputs, body.returns)
