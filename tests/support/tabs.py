"""Tabs of one window: one that stays, in which most tests walk from view to view, and others for what loading does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from asking import WRITE
from browsing import DESKTOP

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

# A view that asks once and then waits for nothing: that of a run that is not there.
REST = "#/runs/none"
# As a link does it; done once the view has been exchanged.
WALK = """(hash) => new Promise((walked) => {
    addEventListener("hashchange", () => walked(), { once: true });
    location.hash = hash;
})"""


class Tabs:
    """To load the page takes half a second of a CPU, to walk to another view a tenth.

    `opener` is a tab whose window and process all others share.
    """

    def __init__(self, opener: Page, url: str) -> None:
        self.complaints: list[str] = []  # of all tabs: scripts that failed, and what broke a policy
        self._opener = opener
        self._url = url
        self._stays: Page | None = None
        self._others: list[Page] = []

    def walk(self, fragment: str = "#/", viewport: ViewportSize = DESKTOP) -> Page:
        """The tab that stays, whose token may write, at the view of this fragment. The mouse is in a corner."""
        page = self._stays = self._stays or self._signed_in()
        if page.viewport_size != viewport:
            page.set_viewport_size(viewport)
        page.mouse.move(0, 0)
        page.evaluate(WALK, fragment)
        return page

    def open(self, token: str | None) -> Page:
        """The page in a new tab, opened with a token (None: without)."""
        page = self.blank()
        page.goto(f"{self._url}/{f'#token={token}' if token else ''}")
        return page

    def blank(self, color_scheme: Literal["light", "dark"] = "light") -> Page:
        """A new tab in which nothing has been opened yet."""
        page = self._new(color_scheme)
        self._others.append(page)
        return page

    def leave(self, keep: bool) -> None:
        """Close the others, and the one that stays too where it may not be as it should; else leave its view."""
        for page in self._others:
            page.close()
        self._others = []
        if self._stays and keep and not self._stays.url.endswith(REST):
            self._stays.evaluate(WALK, REST)
        elif self._stays and not keep:
            self._stays.close()
            self._stays = None

    def _signed_in(self) -> Page:
        page = self._new("light")
        page.goto(f"{self._url}/#token={WRITE}")
        page.evaluate(WALK, REST)
        return page

    def _new(self, color_scheme: Literal["light", "dark"]) -> Page:
        with self._opener.expect_popup() as popup:
            self._opener.evaluate("void open('about:blank')")
        page = popup.value
        page.emulate_media(color_scheme=color_scheme)
        page.set_viewport_size(DESKTOP)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        return page
