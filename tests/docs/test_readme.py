"""The documents say what the code says: settings, operations, packages, commands, paths, and each other."""

import ast
import json
import re
import shlex
from pathlib import Path

import jsonschema_rs
import pytest
import waitress.server
from cases import for_each

from falcon_mnist.api import openapi
from falcon_mnist.api.operations import OPERATIONS
from falcon_mnist.cli.main import app
from falcon_mnist.server import serve as server
from falcon_mnist.settings import settings_table, variable

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = {str(file.relative_to(ROOT)): file.read_text() for file in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))}
TEXT = "\n".join(DOCUMENTS.values())


def rows_of(heading: str, text: str = README) -> list[list[str]]:
    """The cells of the first table below a heading, without its first two lines."""
    section = re.split(r"^## ", text.split(f"\n## {heading}\n")[1], flags=re.M)[0]
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
    rows = rows_of("Operations", DOCUMENTS["docs/api.md"])
    written = {name for first, *_ in rows for name in re.findall(r"`([A-Z]+ /[^`]*)`", first)}
    assert written == {f"{op.method.upper()} {op.path}" for op in OPERATIONS}


def test_the_readme_is_short() -> None:
    assert len(README.encode()) < 10_000


def test_the_first_screen_has_both_commands() -> None:
    first = "\n".join(README.splitlines()[:40])
    assert "\n$ pip install" in first
    assert "\n$ pytest\n" in first


def test_the_table_of_packages_names_every_package() -> None:
    rows = rows_of("Packages", DOCUMENTS["docs/architecture.md"])
    named = {name for row in rows for name in re.findall(r"`([a-z_.]+)`", row[0])}
    packages = {path.parent.name for path in (ROOT / "falcon_mnist").glob("*/__init__.py")}
    modules = {path.name for path in (ROOT / "falcon_mnist").glob("*.py") if not path.name.startswith("_")}
    assert named == packages | {"kernels", "app.py"} | {name.removesuffix(".py") for name in modules - {"app.py"}}


def test_the_table_of_kernels_names_every_folder() -> None:
    named = {row[0].strip("`") for row in rows_of("Folders", DOCUMENTS["docs/kernels.md"])}
    assert named == {f"{path.parent.name}/" for path in (ROOT / "kernels").glob("*/*.pxi")} | {"reference.py"}


@for_each("package", sorted(path.parent for path in (ROOT / "falcon_mnist").glob("*/__init__.py")))
def test_each_package_says_what_it_holds_and_imports(package: Path) -> None:
    (text,) = re.findall(r'^"""(.*?)"""', (package / "__init__.py").read_text(), flags=re.DOTALL)
    assert re.search(r"\b[Ii]mports?\b", text), f"{package.name} does not say what it may import"


def links() -> list[tuple[str, str]]:
    """Each document and what it links to in this repository."""
    found = [(name, link) for name, text in DOCUMENTS.items() for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    return [(name, link) for name, link in found if not re.match(r"https?://", link)]


@for_each("name, link", links())
def test_links_lead_somewhere(name: str, link: str) -> None:
    path, _, anchor = link.partition("#")
    file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
    assert file.is_file()
    if anchor:
        headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.M)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@for_each("name", sorted(set(DOCUMENTS) - {"README.md"}))
def test_every_document_is_reached_from_the_readme(name: str) -> None:
    assert f"]({name})" in README


def test_ci_runs_the_commands_of_the_readme() -> None:
    main, test = re.findall(r"^\$ (pip install.*|pytest)$", README, flags=re.M)[:2]
    install, run = main.split(" && ")
    steps = {line.removeprefix("step ") for line in (ROOT / ".ci" / "run").read_text().splitlines()}
    assert {install.replace("pip install", "pip install --quiet"), run, test} <= steps


# What is logged as it is, as "%s", by the file that has the sentences: what is called with them, or their name.
SENTENCES = {
    "api/token_rules.py": "found.append",
    "settings.py": "sentences.append",
    "data/dataset.py": "reason",
    "runs/executor.py": "self._try",
}


def alarms() -> set[str]:
    """Each warning and error that the code logs, with `…` for what differs."""
    logged = r"(log|self\.logger)\.(warning|error|exception)"
    folder = ROOT / "falcon_mnist"
    texts = {text for file in folder.rglob("*.py") for text in texts_of(file, logged)}
    texts |= {text for name, given_to in SENTENCES.items() for text in texts_of(folder / name, re.escape(given_to))}
    texts |= {text for text in texts_of(Path(waitress.server.__file__), r"self\.logger\.warning") if "limit" in text}
    return texts - {"…"}  # which are among the sentences


def texts_of(file: Path, wanted: str) -> set[str]:
    """The first argument of each call of what is wanted, and what a variable of that name is made of."""
    tree = list(ast.walk(ast.parse(file.read_text())))
    calls = [node.args[0] for node in tree if isinstance(node, ast.Call) and matches(node.func, wanted)]
    named = [node for node in tree if isinstance(node, ast.Assign) and matches(node.targets[0], wanted)]
    made = [node.value for node in named if isinstance(node.value, ast.JoinedStr)]
    return {text_of(node) for node in (*calls, *made)}


def matches(node: ast.expr, wanted: str) -> bool:
    return re.fullmatch(wanted, ast.unparse(node)) is not None


def text_of(node: ast.expr) -> str:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
    return re.sub("…+", "…", re.sub("%[sdr]", "…", text))


def test_every_warning_and_error_in_the_log_is_explained() -> None:
    table = DOCUMENTS["docs/operations.md"].split("\n### What the log says\n")[1]
    assert set(re.findall(r"^\| `([^`]*)` \|", table, flags=re.M)) == alarms()


@for_each("command", sorted(set(re.findall(r"`falcon-mnist ([a-z]+(?: [a-z]+)?)`", TEXT))))
def test_commands_in_the_documents_exist(command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        app([*shlex.split(command), "--help"])
    assert ended.value.code == 0


def test_the_options_for_waitress_serve_are_those_of_serve() -> None:
    (command,) = re.findall(r"^\$ waitress-serve (.*)$", DOCUMENTS["docs/operations.md"], flags=re.M)
    options = dict(re.findall(r"--([a-z-]+)=(\d+)", command))
    assert set(options) == {"threads", "recv-bytes", "inbuf-overflow", "send-bytes"}
    for name, value in options.items():
        assert server.ADJUSTMENTS[name.replace("-", "_")] == int(value)


def transcripts() -> list[tuple[str, str, dict[str, object]]]:
    """Method, path and answer of each curl command of the handbook whose answer is shown."""
    found = []
    for command, answer in re.findall(r"^\$ curl (.*?)\n(\{.*?)$", DOCUMENTS["docs/operations.md"], flags=re.M | re.S):
        words = shlex.split(command)
        path = next(word for word in words if word.startswith("$API")).replace("$API", "/api")
        found.append(("post" if "-d" in words else "get", path, json.loads(answer)))
    return found


@for_each("method, path, answer", transcripts())
def test_documented_errors_are_as_the_description_says(method: str, path: str, answer: dict[str, object]) -> None:
    document = openapi.document(OPERATIONS)
    (media,) = document["paths"][path][method]["responses"][str(answer["status"])]["content"].values()
    jsonschema_rs.validate(media["schema"] | {"components": document["components"]}, answer)


def test_no_placeholder_is_left() -> None:
    assert not re.search(r"@[A-Z]+@|TODO|FIXME", TEXT)


PATHS = re.findall(r"(?<![\w/])((?:tests|bench|docs|kernels)/[a-z_0-9/-]+(?:\.[a-z]+)?)", TEXT)


@for_each("path", sorted(set(PATHS)))
def test_paths_in_the_documents_are_there(path: str) -> None:
    assert (ROOT / path).exists()


STEPS = (ROOT / ".ci" / "run").read_text()


@for_each("name", sorted(set(re.findall(r"python -m tests\.long ([a-z_]+)", TEXT + STEPS))))
def test_what_runs_long_is_there(name: str) -> None:
    assert (ROOT / "tests" / "long" / f"{name}.py").is_file()


def test_contributing_names_all_that_runs_long() -> None:
    programs = {path.stem for path in (ROOT / "tests" / "long").glob("*.py")} - {"__main__"}
    assert {name for name in programs if f"`{name}`" not in DOCUMENTS["CONTRIBUTING.md"]} == set()
