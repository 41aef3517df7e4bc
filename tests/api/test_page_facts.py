"""That the page's scripts count, name states and ask for paths as the server does: a browser cannot import from it."""

from __future__ import annotations

import json
import re

from cases import for_each

from falcon_mnist.api.operations import OPERATIONS
from falcon_mnist.api.resources.page import page_files
from falcon_mnist.constants import CLASSES, PIXELS, SIDE, STATES

CONSTANTS = "constants.js"
SCRIPTS = {
    name: re.sub(r"(^|\s)//.*", "", file.content.decode())
    for name, file in sorted(page_files().items())
    if name.endswith(".js")
}
# What a script asks for, and the options that follow: a path of the API without its prefix.
ASKED = re.compile(r"""\b(ask|once|post|address)\((["`])(.*?)\2(?=([^\n]*))""")
PATH = re.compile(r"""const path = ([^\n]*)""")


def constant(name: str) -> str:
    """What the scripts' constants file says of this name."""
    match = re.search(rf"export const {name} = (.*);", SCRIPTS[CONSTANTS])
    assert match
    return match[1]


def test_the_constants_are_those_of_the_server() -> None:
    assert constant("PIXELS") == "SIDE * SIDE"
    assert int(constant("SIDE")) == SIDE
    assert int(constant("CLASSES")) == CLASSES
    assert json.loads(constant("STATES")) == list(STATES)
    names = re.search(r"export const \[([A-Z, ]+)\] = STATES;", SCRIPTS[CONSTANTS])
    assert names
    assert all(name.lower() == state for name, state in zip(names[1].split(", "), STATES, strict=False))


@for_each("name", sorted(SCRIPTS.keys() - {CONSTANTS}))
def test_no_other_script_writes_them_again(name: str) -> None:
    assert re.findall(rf"\b(?:{PIXELS}|{SIDE})\b", SCRIPTS[name]) == []
    assert re.findall(rf"""["'`=](?:{"|".join(STATES)})["'`&]""", SCRIPTS[name]) == []


def route(path: str) -> str:
    """A path without its query, and without the names of what is filled in."""
    return re.sub(r"\$?\{[^{}]*\}", "{}", path.partition("?")[0])


def asked(script: str) -> set[tuple[str, str]]:
    """Method and path of each request in a script."""
    found = set()
    for function, _, path, rest in ASKED.findall(script):
        method = re.search(r'method: "([A-Z]+)"', rest)
        found.add(("POST" if function == "post" else method[1] if method else "GET", route(path)))
    for line in PATH.findall(script):
        found |= {("", route(path)) for path in re.findall(r"`(.*?)`", line)}
    return found


def test_every_path_that_is_asked_for_is_one_of_the_server() -> None:
    served = [(each.method.upper(), route(each.path.removeprefix("/api/"))) for each in OPERATIONS]
    requests = {request for script in SCRIPTS.values() for request in asked(script)}
    assert len(requests) > 15
    for method, path in requests:
        assert any(
            method in {each, ""} and re.fullmatch(re.escape(known).replace(r"\{\}", "[^/]+"), path)
            for each, known in served
        ), path
    assert SCRIPTS["api.js"].count("`api/") == 1
