"""What people see: nothing that axe finds fault with, in light and dark, on a phone; and the pictures in docs/."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Literal

import pytest
from asking import READ, Document, until
from axe_playwright_python.base import AXE_SCRIPT
from axe_playwright_python.sync_playwright import Axe
from browsing import DESKTOP, THREE, OpenPage, Site, draw
from checking_client import Client
from playwright.sync_api import Page, ViewportSize, expect
from small_networks import architecture
from tabs import REST

DOCS = Path(__file__).parents[2] / "docs"
PHONE: ViewportSize = {"width": 390, "height": 844}
# To describe all that is right takes axe longer than to look.
VIOLATIONS = {"resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def busy(site: Site, trained: Document) -> None:
    """A run in each state but queued and running, for the list to show."""
    client = site.client
    sgd = {"type": "sgd", "lr": 100, "momentum": 0.99}
    deep = {"architecture": architecture(64, 64, 64, 64), "hyperparams": {"optimizer": sgd}}
    client.wait(client.train(client.model(deep)), "failed")
    with client.endless_run():
        pass
    client.trained({"architecture": architecture(256, 128)}, epochs=1)


@contextmanager
def running_run(client: Client) -> Iterator[None]:
    """A run that trains meanwhile. It takes a CPU, so only the view that shows it has one."""
    with client.endless_run() as run:
        until(lambda: client.run(run["run_id"])["epoch"], "it has come some way")
        yield


def drawing(page: Page) -> None:
    page.get_by_role("button", name="Compare").click()
    draw(page, THREE)
    expect(page.locator(".verdict strong")).to_have_text(["3", "3"])


def listing(page: Page) -> None:
    expect(page.get_by_text("left", exact=False).first).to_be_visible()


def form(page: Page) -> None:
    page.get_by_label("Augmentation").check()


def one_run(page: Page) -> None:
    expect(page.locator(".digits li").first).to_be_visible()
    expect(page.locator(".tiles")).to_be_visible()


def status(page: Page) -> None:
    expect(page.get_by_text("Instruction set")).to_be_visible()


VIEWS = {
    "draw": ("#/", drawing),
    "runs": ("#/runs", listing),
    "train": ("#/train", form),
    "run": ("#/runs/{run_id}", one_run),
    "status": ("#/status", status),
}
# Those that the documents show.
PICTURES = ("draw-light", "draw-phone", "runs-light", "run-dark")


def found_by_axe(page: Page) -> str:
    """Its report. It stays in the tab: evaluated for each view anew, it would also have to be compiled each time."""
    script = AXE_SCRIPT if page.evaluate("!window.axe") else ""
    results = Axe(script).run(page, options=VIOLATIONS)
    return str(results.generate_report()) if results.violations_count else ""


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_is_wrong_with_a_view(
    site: Site, trained: Document, busy: None, open_page: OpenPage, request: pytest.FixtureRequest, name: str
) -> None:
    """On a phone, then with more room, as when it is turned. The tab, which stays, is left in light."""
    fragment, prepare = VIEWS[name]
    fragment = fragment.format(**trained)

    def look(page: Page, scheme: Literal["light", "dark"], picture: str) -> None:
        page.emulate_media(color_scheme=scheme)
        assert found_by_axe(page) == "", picture
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{picture} is wider than it shows"
        if request.config.getoption("--screenshots") and picture in PICTURES:
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=DOCS / f"page-{picture}.png", full_page=name == "run")

    with running_run(site.client) if name == "runs" else nullcontext():
        page = open_page(fragment=fragment, viewport=PHONE)
        prepare(page)
        look(page, "light", f"{name}-phone")
        if name == "run":  # which arranges the weights once, for the room that there is
            open_page(fragment=REST)
            page = open_page(fragment=fragment)
            prepare(page)
        page.set_viewport_size(DESKTOP)
        for scheme in ("dark", "light"):
            look(page, scheme, f"{name}-{scheme}")


def test_the_keyboard_reaches_everything(trained: Document, new_tab: OpenPage) -> None:
    """From the question for the token on, with which nothing is wrong either."""
    page = new_tab(None)
    assert found_by_axe(page) == ""
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(READ)
    page.keyboard.press("Enter")
    expect(page.locator(".verdict")).to_have_text("Draw a digit")
    reached: set[str] = set()
    for _ in range(15):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.innerText || document.activeElement.type"))
    assert {"falcon-mnist", "Draw", "Runs", "Train", "Service", "Clear", "Test digit", "file"} <= reached
    page.get_by_role("button", name="Test digit").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".verdict strong")).to_be_visible()
