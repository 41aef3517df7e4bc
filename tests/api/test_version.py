"""The package, the command, the API and its description name one version, and the change log is as it says."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import forking
import pytest
from asking import PATIENCE, READ
from checking_client import Client
from server_process import environment

from falcon_mnist import kernels
from falcon_mnist.storage.migrations import STEPS

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_all_name_the_same_version(client: Client, tmp_path: Path) -> None:
    ran = forking.run("--version", env=environment(tmp_path), timeout=PATIENCE)
    assert ran.stdout == f"falcon-mnist {VERSION}\n"
    assert version("falcon-mnist") == VERSION
    assert client.get("/api/version", token=READ).json() == {
        "version": VERSION, "schema_version": len(STEPS), "isa": kernels.isa()
    }  # fmt: skip
    assert client.get("/api/openapi.json").json()["info"]["version"] == VERSION


def test_the_change_log_keeps_its_form() -> None:
    assert CHANGELOG.startswith("# Changelog\n")
    first, *released = re.findall(r"^## (.*)$", CHANGELOG, flags=re.M)
    assert first == "[Unreleased]"
    dates = [re.fullmatch(r"\[\d+\.\d+\.\d+\] - (\d{4}-\d\d-\d\d)", heading) for heading in released]
    assert all(dates)
    shown = [date[1] for date in dates if date]
    assert shown == sorted(shown, reverse=True)


@pytest.mark.parametrize("entry", re.split(r"^## ", CHANGELOG, flags=re.M)[1:])
def test_each_version_sorts_its_changes_by_kind(entry: str) -> None:
    kinds = re.findall(r"^### (.*)$", entry, flags=re.M)
    assert kinds == [kind for kind in KINDS if kind in kinds]
    assert not re.search(r"^(?!- |  |#|\[|$)", entry.partition("\n")[2], flags=re.M), "a line outside of the lists"
