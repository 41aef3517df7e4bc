"""What is said of numbers that cannot be used: the rule, the number, and what JSON lacks."""

from __future__ import annotations

import json

import pytest
from asking import Document
from cases import for_each
from checking_client import Client
from small_networks import SMALL


def _answer(client: Client, hyperparams: str) -> Document:
    content = f'{{"architecture": {json.dumps(SMALL)}, "hyperparams": {hyperparams}}}'
    answer: Document = client.post("/api/models", content=content).json()
    return answer


@for_each(
    "hyperparams, sentence",
    [
        ('{"epochs": 1.5}', "must be a whole number, but is 1.5"),
        ('{"epochs": 1e400}', "must be finite"),
        ('{"epochs": "5"}', "must be a whole number, but is a string"),
        ('{"epochs": 1e300}', "must be at most 1000, but is 1e+300"),
        ('{"epochs": 5, "schedule": {"warmup_epochs": 7}}', "warmup_epochs must be less than epochs (5), but is 7"),
        ('{"schedule": {"type": "step", "every": 1e30}}', "must be at most 9223372036854775807, but is 1e+30"),
    ],
)
def test_a_number_that_cannot_be_used_is_named(client: Client, hyperparams: str, sentence: str) -> None:
    assert [fault["detail"] for fault in _answer(client, hyperparams)["errors"]] == [sentence]


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_names_that_json_does_not_have_are_named(client: Client, constant: str) -> None:
    answer = _answer(client, f'{{"optimizer": {{"lr": {constant}}}}}')
    assert answer["detail"].startswith("The body is not valid JSON, which has no NaN or Infinity: ")
    assert "line 1 column" in answer["detail"]
