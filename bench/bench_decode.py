"""A JSON body of 512 images to a float32 array: what `/infer` does, beside what is usually done."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import orjson
import paired
import pytest

from falcon_mnist.api.json_body import decode
from falcon_mnist.api.memory import keep_freed

pytestmark = pytest.mark.benchmark(disable_gc=True, max_time=0.5, min_rounds=5)

Decode = Callable[[bytes], np.ndarray]
DECODERS: dict[str, Decode] = {
    "falcon-mnist": lambda body: decode(body, max_numbers=1_000_000)["inputs"],
    "json and NumPy": lambda body: np.asarray(json.loads(body)["inputs"], dtype=np.float32),
    "orjson and NumPy": lambda body: np.asarray(orjson.loads(body)["inputs"], dtype=np.float32),
}


@pytest.mark.parametrize("name", DECODERS)
def bench_decode(benchmark: Any, name: str, digits: np.ndarray) -> None:
    rows = digits / np.float32(255)
    body = orjson.dumps({"param_id": "p_1", "inputs": rows}, option=orjson.OPT_SERIALIZE_NUMPY)
    keep_freed()
    benchmark.group = "decode, 512 rows of JSON"
    benchmark.extra_info |= {"contender": name, "bytes": len(body)}
    result = benchmark(DECODERS[name], body)
    assert result.dtype == np.float32
    assert (result == rows).all()
    if name != "falcon-mnist":
        ours, theirs = (partial(DECODERS[each], body) for each in ("falcon-mnist", name))
        benchmark.extra_info["paired"] = paired.paired(ours, theirs, pairs=15)._asdict()
