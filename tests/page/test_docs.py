"""The OpenAPI document for people, in a browser."""

from __future__ import annotations

from asking import READ, WRITE
from browsing import OpenPage, Site
from playwright.sync_api import Page, Route, expect

PREFIX = "/digits-for-all"


def noted(page: Page) -> list[str]:
    """The addresses that this page asks for from now on."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    return asked


def give(page: Page, token: str) -> None:
    """Answer the question for the token."""
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Enter").click()


def try_version(page: Page) -> None:
    """What it may answer is shown before: in examples that are made of what its answers refer to, and those again."""
    page.locator("#operations-service-version .opblock-summary-control").click()
    for code, member in (("200", "schema_version"), ("422", "pointer")):
        expect(page.locator(f".responses-table tr[data-code='{code}']")).to_contain_text(f'"{member}"')
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")


def versions(asked: list[str]) -> list[str]:
    """Where the version was asked for; a page may ask for its icon after that."""
    return [address for address in asked if address.endswith("/version")]


def strip(route: Route) -> None:
    """As a proxy that knows this server below PREFIX."""
    route.fulfill(response=route.fetch(url=route.request.url.replace(f"{PREFIX}/", "/", 1)))


def with_one_operation(route: Route) -> None:
    """The server's answer, at any prefix, without all that takes the viewer a second of a CPU to show."""
    response = route.fetch(url=route.request.url.replace(f"{PREFIX}/", "/", 1))
    if response.ok:
        description = response.json()
        description["paths"] = {"/api/version": description["paths"]["/api/version"]}
        schemas = description["components"]["schemas"]
        named = ("Version", "ProblemDocument", "FieldFault")
        description["components"]["schemas"] = {name: schemas[name] for name in named}
        route.fulfill(response=response, json=description)
    else:
        route.fulfill(response=response)


def expect_nothing_from_elsewhere(site: Site, url: str, asked: list[str]) -> None:
    since = asked[asked.index(f"{url}/docs") :]
    late = f"{site.url}/page/icon.svg"  # that of the page before, which may ask for it whenever it likes
    assert all(address.startswith((f"{url}/", "data:")) for address in since if address != late)


def test_who_is_in_is_not_asked_for_the_token_and_can_try_all_operations(site: Site, new_tab: OpenPage) -> None:
    """The fixture holds against the page whatever its console says, of policies too."""
    page = new_tab(WRITE)
    asked = noted(page)
    page.get_by_role("link", name="API").click()
    expect(page.locator(".opblock-summary-path", has_text="/api/infer_adhoc")).to_be_visible()
    operations = site.client.get("/api/openapi.json").json()["paths"].values()
    expect(page.locator(".opblock")).to_have_count(sum(map(len, operations)))
    expect(page.locator(".opblock-tag")).to_have_text(["models", "runs", "parameters", "inference", "service"])
    try_version(page)
    assert versions(asked) == [f"{site.url}/api/version"]
    expect_nothing_from_elsewhere(site, site.url, asked)


def test_behind_a_prefix_a_wrong_token_is_said_and_the_right_one_leads_in_until_a_link_brings_another(
    site: Site, blank_tab: OpenPage
) -> None:
    """That a proxy strips. In the dark, and first with a token that may only read."""
    url = f"{site.url}{PREFIX}"
    page = blank_tab(color_scheme="dark")
    page.route(f"**{PREFIX}/**", strip)
    page.route(f"**{PREFIX}/api/openapi.json", with_one_operation)
    asked = noted(page)
    page.goto(f"{url}/docs")
    give(page, "a-wrong-one")
    expect(page.get_by_role("alert")).to_have_text("The server does not know this token.")
    assert page.evaluate("sessionStorage.length") == 0
    give(page, READ)
    expect(page.locator(".opblock-summary-path")).to_have_text(["/api/version"])
    try_version(page)
    assert versions(asked) == [f"{url}/api/version"]
    page.goto(f"{url}/docs#token={WRITE}")
    expect(page).to_have_url(f"{url}/docs#/")
    expect(page.locator(".opblock-summary-path")).to_be_visible()
    assert page.evaluate("sessionStorage.getItem(sessionStorage.key(0))") == WRITE
    expect_nothing_from_elsewhere(site, url, asked)
