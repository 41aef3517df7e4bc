"""The OpenAPI document for people, in a browser."""

from __future__ import annotations

import pytest
from asking import READ, WRITE
from browsing import OpenPage, Site
from playwright.sync_api import Page, Route, expect

PREFIX = "/digits-for-all"


@pytest.fixture
def asked() -> list[str]:
    """The addresses that a page has asked for, where it was opened with `noting`."""
    return []


def enter(page: Page, url: str, asked: list[str], token: str = WRITE) -> None:
    """Open `/docs` below `url` in the tab, which knows no token, and give this one."""
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{url}/docs")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Enter").click()


def try_version(page: Page) -> None:
    page.locator("#operations-service-version .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")


def strip(route: Route) -> None:
    """As a proxy that knows this server below PREFIX."""
    route.fulfill(response=route.fetch(url=route.request.url.replace(f"{PREFIX}/", "/", 1)))


def expect_all_operations(page: Page, site: Site) -> None:
    expect(page.locator(".opblock-summary-path", has_text="/api/infer_adhoc")).to_be_visible()
    operations = site.client.get("/api/openapi.json").json()["paths"].values()
    expect(page.locator(".opblock")).to_have_count(sum(map(len, operations)))
    expect(page.locator(".opblock-tag")).to_have_text(["models", "runs", "parameters", "inference", "service"])


def expect_nothing_from_elsewhere(site: Site, url: str, asked: list[str]) -> None:
    since = asked[asked.index(f"{url}/docs") :]
    late = f"{site.url}/page/icon.svg"  # that of the page before, which may ask for it whenever it likes
    assert all(address.startswith((f"{url}/", "data:")) for address in since if address != late)


def test_the_token_leads_to_all_operations_which_can_be_tried(
    site: Site, open_page: OpenPage, asked: list[str]
) -> None:
    """The fixture holds against the page whatever its console says, of policies too."""
    page = open_page(None)
    enter(page, site.url, asked)
    expect_all_operations(page, site)
    page.locator("#operations-inference-infer .opblock-summary-control").click()
    expect(page.locator("#operations-inference-infer .responses-table").first).to_be_visible()
    page.locator("#operations-inference-infer .opblock-summary-control").click()
    try_version(page)
    assert asked[-1] == f"{site.url}/api/version"
    expect_nothing_from_elsewhere(site, site.url, asked)


def test_behind_a_prefix_that_a_proxy_strips_they_can_be_tried_too(
    site: Site, open_page: OpenPage, asked: list[str]
) -> None:
    """In the dark, and with a token that may only read: to open each operation takes the viewer half a second."""
    url = f"{site.url}{PREFIX}"
    page = open_page(None, color_scheme="dark")
    page.route(f"**{PREFIX}/**", strip)
    enter(page, url, asked, READ)
    expect_all_operations(page, site)
    try_version(page)
    assert asked[-1] == f"{url}/api/version"
    expect_nothing_from_elsewhere(site, url, asked)


def test_a_wrong_token_is_said(site: Site, open_page: OpenPage, asked: list[str]) -> None:
    page = open_page(None)
    enter(page, site.url, asked, "a-wrong-one")
    expect(page.get_by_role("alert")).to_have_text("The server does not know this token.")
    assert page.evaluate("sessionStorage.length") == 0


def test_who_is_in_is_not_asked_again(site: Site, open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_role("link", name="API").click()
    expect(page.locator(".opblock-summary-path", has_text="/api/version")).to_be_visible()
    page.goto(f"{site.url}/docs#token={WRITE}")
    expect(page).to_have_url(f"{site.url}/docs#/")
    expect(page.locator(".opblock-summary-path", has_text="/api/version")).to_be_visible()
