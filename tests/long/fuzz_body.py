"""Fuzz what reads request bodies: `json_body.decode`, then every schema, as the resources do.

    pip install atheris
    python -m tests.long fuzz_body -max_total_time=60 [CORPUS]

It begins from the seeds below; a corpus, a folder that it fills, is kept outside of the repository, if at all.

Whatever a body holds, it must be taken or refused with a `Problem`; and what is refused must make a document
that can be written.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["falcon_mnist"]):
    from falcon_mnist.api import json_body as arrays
    from falcon_mnist.api import schemas

import orjson

from falcon_mnist.api.errors import Problem
from falcon_mnist.api.request import fingerprint
from falcon_mnist.api.validation import parse

SCHEMAS = (schemas.CreateModel, schemas.StartTraining, schemas.Infer, schemas.InferAdhoc, schemas.Nothing)

# Bodies to begin from: libFuzzer finds a brace by itself, but no member of an architecture.
SEEDS = (
    b'{"architecture":{"input_size":784,"layers":[{"type":"linear","in":784,"out":10},{"type":"softmax"}]}}',
    b'{"hyperparams":{"epochs":5,"batch_size":64,"optimizer":{"type":"sgd","lr":0.1,"momentum":0.9},"seed":42,'
    b'"loss":"cross_entropy","train_split":0.9,"shuffle":true}}',
    b'{"param_id":"p_1","inputs":[[0,1.5,-2e-3],[1,2,3]],"return":{"logits":true,"labels":false}}',
    b'{"architecture":{"input_size":784,"layers":[{"type":"linear","in":2,"out":1}]},"parameters":{"layers":'
    b'[{"type":"linear","W":[[1],[2]],"b":[0]}],"dtype":"float32","layout":"row_major"},"inputs":[[1,2]]}',
)


def one_input(data: bytes) -> None:
    try:
        document = arrays.decode(data, max_numbers=1000)
    except Problem as problem:
        orjson.dumps(problem.document("id"))
        return
    for schema in SCHEMAS:
        try:
            parsed = parse(schema, document, max_parameters=100_000)
        except Problem as problem:
            if problem.status not in (400, 422):
                raise
            orjson.dumps(problem.document("id"))
        else:
            if not isinstance(parsed, schemas.Infer | schemas.InferAdhoc):  # as the resources that write
                orjson.dumps(parsed.model_dump())
                fingerprint(document)


@atheris.instrument_func
def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """Begin from a seed now and then."""
    if len(data) < 2 or seed % 1000 == 0:
        data = SEEDS[seed // 1000 % len(SEEDS)]
    return bytes(atheris.Mutate(data, max_size))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input, custom_mutator=mutated)
    atheris.Fuzz()
