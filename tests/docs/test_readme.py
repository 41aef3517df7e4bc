"""The README says what the code says: settings, endpoints, modules, and the two commands."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from falcon_mnist.api import openapi
from falcon_mnist.server import serve as server
from falcon_mnist.settings import settings_table, variable

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its first two lines."""
    section = re.split(r"^## ", README.split(f"\n## {heading}\n")[1], flags=re.M)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_settings_table_is_the_settings_table() -> None:
    in_words = [
        [f"`{variable(name)}`", setting["meaning"], setting["shown"] or f"`{default}`"]
        for name, setting in settings_table().items()
        for default in [default_of(name)]
    ]
    assert rows_of("Settings") == in_words


def default_of(name: str) -> object:
    from falcon_mnist.settings import Settings

    return getattr(Settings(), name)


def test_the_api_table_names_every_operation() -> None:
    written = {row[0] for row in rows_of("API")}
    assert written == {f"`{op.method.upper()} {op.path}`" for op in openapi.OPERATIONS}


def test_what_is_where_names_every_module() -> None:
    written = {name for row in rows_of("What is where") for name in re.findall(r"`([^`]+)`", row[0])}
    folders = {"falcon_mnist": "*.py", "kernels": "*.p*"}
    modules = {
        f"{folder}/{path.name}"
        for folder, pattern in folders.items()
        for path in (ROOT / folder).glob(pattern)
        if not path.name.startswith("_") and path.suffix != ".typed"
    }
    assert modules - written == set()
    for name in written:
        assert any(ROOT.glob(name)), f"{name} is not there"


def test_ci_runs_the_commands_of_the_readme() -> None:
    main, test = re.findall(r"^\$ (pip install.*|pytest)$", README, flags=re.M)[:2]
    install, run = main.split(" && ")
    steps = {line.removeprefix("step ") for line in (ROOT / ".ci" / "run").read_text().splitlines()}
    assert {install.replace("pip install", "pip install --quiet"), run, test} <= steps


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`falcon-mnist ([a-z]+(?: [a-z]+)?)`", README))))
def test_commands_in_the_readme_exist(command: str) -> None:
    program = Path(sys.executable).parent / "falcon-mnist"
    shown = subprocess.run(
        [program, *shlex.split(command), "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert shown.returncode == 0, shown.stderr


def test_the_options_for_waitress_serve_are_those_of_serve() -> None:
    options = dict(re.findall(r"--([a-z-]+)=(\d+)", README))
    assert set(options) == {"threads", "recv-bytes", "inbuf-overflow", "send-bytes"}
    for name, value in options.items():
        assert server.ADJUSTMENTS[name.replace("-", "_")] == int(value)


def transcripts() -> list[tuple[str, str, dict[str, object]]]:
    """Method, path and answer of each curl command whose answer is shown."""
    found = []
    commands = re.findall(r"^\$ curl (.*?)\n(\{.*?)$", README, flags=re.M | re.S)
    for command, answer in commands:
        if "\n$ " in command:
            command = command.rsplit("\n$ curl ", 1)[-1]
        words = shlex.split(command)
        path = next(word for word in words if word.startswith("$API")).replace("$API", "/api").partition("?")[0]
        method = "post" if {"-d", "--data-binary", "POST"} & set(words) else "get"
        found.append((method, path, json.loads(answer)))
    return found


def test_the_readme_shows_the_whole_flow() -> None:
    shown = [path.split("/")[2] for _, path, _ in transcripts()]
    assert shown == ["models", "models", "runs", "infer", "models"]


@pytest.mark.parametrize(("method", "path", "answer"), transcripts())
def test_answers_in_the_readme_are_as_the_description_says(method: str, path: str, answer: dict[str, object]) -> None:
    document = openapi.document()
    template = path.replace("$MODEL", "{model_id}").replace("$RUN", "{run_id}")
    answers = document["paths"][template][method]["responses"]
    status = str(answer["status"]) if "title" in answer else next(code for code in answers if code.startswith("2"))
    (media,) = answers[status]["content"].values()
    jsonschema.validate(answer, media["schema"] | {"components": document["components"]})


def test_no_placeholder_is_left() -> None:
    assert not re.search(r"@[A-Z]+@|TODO|FIXME", README)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\b((?:tests|bench)/[a-z_/]+(?:\.py)?)", README))))
def test_what_the_readme_says_to_run_is_there(path: str) -> None:
    assert (ROOT / path).exists()
