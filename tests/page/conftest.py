"""A server with a network that reads drawn digits, and pages in a headless Chromium that may make no mistake."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import forked_workers
import numpy as np
import pytest
from asking import READ, WRITE, Document
from browsing import OpenPage, Site
from checking_client import Client
from drawn import write_drawn_digits
from needed import skip_if
from small_networks import architecture
from tabs import Tabs

from falcon_mnist.app import open_service
from falcon_mnist.server.serve import running
from falcon_mnist.settings import Settings

# The shell is the same browser without windows, for two thirds of the CPU time.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
skip_if(None if CHROMIUM else "chromium is not installed (on Debian: apt install chromium-headless-shell)")

from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402

# A test that waits this long has failed.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

# What the page waits for until it asks again takes a tenth of the time: meanwhile a run trains that takes a CPU.
HURRY = "const wait = setTimeout; window.setTimeout = (call, pause, ...more) => wait(call, pause / 10, ...more);"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory, drawn_digits: tuple[np.ndarray, np.ndarray]) -> Path:
    """A folder of digits drawn from pen strokes. Few to test on: axe looks at each mistake that is shown."""
    return write_drawn_digits(tmp_path_factory.mktemp("drawn") / "digits", drawn_digits, tests=200)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, drawn: Path) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site") / "home"
    tokens = home.parent / "tokens"
    tokens.write_text(f"{WRITE}\n{READ} read\n")
    tokens.chmod(0o600)
    settings = Settings(home=home, tokens_file=tokens, dataset=str(drawn), workers=2)
    service = open_service(settings, make_executor=forked_workers.make_executor)
    with running(service) as url, Client(url) as client:
        yield Site(url, client)


@pytest.fixture(scope="session")
def trained(site: Site) -> Document:
    """A run that has succeeded, whose network reads what is drawn."""
    adam = {"type": "adam", "lr": 0.002}
    augmentation = {"shift": 1, "rotation": 10, "scale": 0.1}
    hyperparams = {"epochs": 20, "optimizer": adam, "augmentation": augmentation}
    return site.client.trained({"architecture": architecture(128), "hyperparams": hyperparams})


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Within a container, Chromium has no right to build its own sandbox; it opens our own page alone.
        # No script runs long enough to be worth optimizing, or threads for its garbage: without, these tests take an
        # eighth less of a CPU.
        arguments = ["--no-sandbox", "--js-flags=--no-opt --single-threaded"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def opener(browser: Browser, site: Site) -> Iterator[Page]:
    """A tab that opens the others, which share its window and its process, and nothing else that is kept: what a tab
    keeps for its session is its own. A context for each test would take a second of a CPU.
    """
    context = browser.new_context(reduced_motion="reduce")  # the CPU paints each frame
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(HURRY)
    page = context.new_page()
    page.goto(f"{site.url}/page/icon.svg")
    yield page
    context.close()


@pytest.fixture(scope="session")
def all_tabs(opener: Page, site: Site) -> Tabs:
    return Tabs(opener, site.url)


@pytest.fixture
def tabs(all_tabs: Tabs, request: pytest.FixtureRequest) -> Iterator[Tabs]:
    """Fails at the end if a script of the page failed or broke a policy."""
    failed = request.session.testsfailed
    yield all_tabs
    all_tabs.leave(keep=request.session.testsfailed == failed)
    complaints, all_tabs.complaints = all_tabs.complaints, []
    # A refused request is a line in the console as well; those that tests provoke are no fault of the page.
    assert [line for line in complaints if not line.startswith("Failed to load resource")] == []


@pytest.fixture
def open_page(tabs: Tabs) -> OpenPage:
    """Shows a view in the tab that stays, whose token may write."""
    return tabs.walk


@pytest.fixture
def new_tab(tabs: Tabs) -> OpenPage:
    """Opens the page in a tab of its own, with a token or without."""
    return tabs.open


@pytest.fixture
def blank_tab(tabs: Tabs) -> OpenPage:
    """Opens a tab of its own with nothing in it, for what opens the page elsewhere."""
    return tabs.blank
