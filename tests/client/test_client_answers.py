"""The client's types have the members that the server's answers have."""

from __future__ import annotations

import pytest

from falcon_mnist.api import inference_responses, responses, service_responses
from falcon_mnist.client import answers

PAIRS = {
    "Model": responses.Model,
    "ModelPage": responses.ModelPage,
    "QueuedRun": responses.RunQueued,
    "Metrics": responses.Metrics,
    "Epoch": responses.Epoch,
    "Dataset": responses.Dataset,
    "RunError": responses.RunError,
    "BestAccuracy": responses.BestAccuracy,
    "RunSummary": responses.RunSummary,
    "Run": responses.RunState,
    "RunPage": responses.RunPage,
    "ParameterSet": responses.ParameterSet,
    "ListedParameters": responses.ListedParameters,
    "ParameterPage": responses.ParameterPage,
    "Imported": responses.Imported,
    "Snapshot": responses.Snapshot,
    "Mistake": inference_responses.Mistake,
    "Evaluation": inference_responses.Evaluation,
    "Recipe": service_responses.NamedRecipe,
    "Version": service_responses.Version,
    "Status": service_responses.ServiceStatus,
    "Warned": inference_responses.RowWarning,
    "Fault": service_responses.FieldFault,
}


@pytest.mark.parametrize("name", PAIRS)
def test_an_answer_has_these_members(name: str) -> None:
    ours, theirs = getattr(answers, name), PAIRS[name].model_fields
    assert set(ours.__annotations__) == set(theirs)
    for member, field in theirs.items():  # those that not every answer has have a default
        assert (str(ours.__annotations__[member]).find("NotRequired") >= 0) == (not field.is_required()), member


def test_every_type_has_its_answer() -> None:
    typed = {name for name, each in vars(answers).items() if hasattr(each, "__required_keys__")}
    assert typed - {"Architecture"} == set(PAIRS)
