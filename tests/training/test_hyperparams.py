"""Hyperparameters are merged as JSON, then validated."""

import pytest

from falcon_mnist.training.hyperparams import Hyperparams, merge, normalised


@pytest.mark.parametrize(
    ("base", "overrides", "merged"),
    [
        ({"epochs": 3, "seed": 1}, {"seed": 2}, {"epochs": 3, "seed": 2}),
        ({"epochs": 3}, {}, {"epochs": 3}),
        ({"o": {"type": "a", "x": 1, "y": 2}}, {"o": {"y": 3}}, {"o": {"type": "a", "x": 1, "y": 3}}),
        ({"o": {"type": "a", "x": 1}}, {"o": {"type": "a", "y": 3}}, {"o": {"type": "a", "x": 1, "y": 3}}),
        ({"o": {"type": "a", "x": 1}}, {"o": {"type": "b", "y": 3}}, {"o": {"type": "b", "y": 3}}),
        ({"o": {"x": 1}}, {"o": None}, {"o": None}),
        ({"o": None}, {"o": {"y": 3}}, {"o": {"y": 3}}),
        ({"o": {"x": 1}}, {"o": 5}, {"o": 5}),
    ],
    ids=["member", "nothing", "nested", "same-type", "other-type", "null-replaces", "over-null", "no-object"],
)
def test_overrides_replace_members_and_start_objects_of_another_type_from_nothing(base, overrides, merged):
    before = repr(base)
    assert merge(base, overrides) == merged
    assert repr(base) == before


def test_a_merged_document_is_whole_once_it_is_validated():
    ours = Hyperparams.model_validate({"epochs": 3, "optimizer": {"lr": 0.5, "momentum": 0.9}}).model_dump()
    merged = Hyperparams.model_validate(merge(ours, {"seed": 1, "optimizer": {"lr": 0.25}}))
    assert (merged.epochs, merged.seed, merged.batch_size) == (3, 1, 64)
    assert (merged.optimizer.lr, merged.optimizer.momentum) == (0.25, 0.9)
    assert merge(ours, {}) == ours


def test_what_an_earlier_version_stored_is_shown_with_the_members_added_since():
    assert normalised({"epochs": 2, "optimizer": {"type": "sgd", "lr": 0.5}}) == {
        **Hyperparams().model_dump(),
        "epochs": 2,
        "optimizer": {**Hyperparams().optimizer.model_dump(), "lr": 0.5},
    }
