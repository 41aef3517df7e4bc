"""What is printed reaches no terminal as an order."""

from __future__ import annotations

import pytest
from cases import for_each

from falcon_mnist.cli import console

ORDERS = "\x1b]0;title\x07\x1b[2J\r\x9b2J"


@for_each("show", [console.say, console.complain, console.say_cells, lambda text: console.say_cells("first", text)])
def test_control_characters_are_not_printed(show: object, capfd: pytest.CaptureFixture[str]) -> None:
    assert callable(show)
    show(f"name {ORDERS} name")
    printed = "".join(capfd.readouterr())
    assert printed.endswith("name\n")
    assert all(character.isprintable() or character in "\n\t" for character in printed)
