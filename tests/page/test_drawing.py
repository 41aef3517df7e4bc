"""Getting in, and drawing a digit."""

from __future__ import annotations

from asking import READ, WRITE, Document
from browsing import ONE, SEVEN, THREE, OpenPage, Site, draw
from playwright.sync_api import Page, Route, expect


def enter(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_role("heading", name="Draw a digit")).to_be_visible()


def test_a_wrong_token_of_a_link_is_said_and_the_right_one_asked_for_once_and_kept_for_the_tab(
    trained: Document, new_tab: OpenPage
) -> None:
    """Until its owner signs out: then another one is asked for."""
    page = new_tab("a-wrong-one")
    expect(page.get_by_role("alert")).to_have_text("The server does not know this token.")
    assert page.evaluate("sessionStorage.length") == 0
    enter(page, WRITE)
    assert "a-wrong-one" not in page.url
    page.reload()
    expect(page.get_by_role("heading", name="Draw a digit")).to_be_visible()
    assert WRITE not in page.url
    assert page.evaluate("localStorage.length") == 0
    assert page.context.cookies() == []
    page.get_by_role("button", name="Sign out").click()
    enter(page, READ)
    assert page.evaluate("Object.values(sessionStorage)") == [READ]


def test_digits_that_are_drawn_are_read(trained: Document, open_page: OpenPage) -> None:
    page = open_page()
    for digit, strokes in (("1", ONE), ("3", THREE), ("7", SEVEN)):
        expect(page.locator(".verdict")).to_have_text("Draw a digit")
        draw(page, strokes)
        expect(page.locator(".verdict strong")).to_have_text(digit)
        page.get_by_role("button", name="Clear").click()
    expect(page.locator(".verdict")).to_have_text("Draw a digit")


def test_what_the_server_doubts_is_shown(trained: Document, open_page: OpenPage) -> None:
    """The page prepares its pictures so that there is hardly ever a reason."""

    def inverted(route: Route) -> None:
        drawn = route.request.post_data_buffer or b""
        route.continue_(post_data=bytes(255 - pixel for pixel in drawn))

    page = open_page()
    draw(page, ONE)
    expect(page.locator(".verdict strong")).to_be_visible()
    expect(page.locator(".doubts")).to_be_hidden()
    page.route("**/api/infer*", inverted)
    draw(page, ONE)
    expect(page.locator(".doubts")).to_contain_text("bright at its edges")
    page.unroute("**/api/infer*")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".doubts")).to_be_hidden()


def test_the_picture_that_is_sent_is_made_as_mnist_was(trained: Document, open_page: OpenPage) -> None:
    """20 pixels high, its centre of mass at pixel 14; and what is shown is what is sent."""
    page = open_page()
    with page.expect_request(lambda request: "/api/infer" in request.url):
        draw(page, ONE)
    page.evaluate("new Promise(requestAnimationFrame)")  # the frame in which the last stroke is looked at
    shown = page.evaluate(
        "[...document.querySelector('.digit').getContext('2d').getImageData(0, 0, 28, 28).data]"
        ".filter((_, i) => i % 4 === 0)"
    )
    rows = [sum(shown[28 * row : 28 * row + 28]) for row in range(28)]
    assert sum(row > 0 for row in rows) == 20
    mass = sum(shown)
    assert abs(sum(row * ink for row, ink in enumerate(rows)) / mass - 14) <= 0.5
    assert abs(sum((i % 28) * ink for i, ink in enumerate(shown)) / mass - 14) <= 0.5


def test_networks_are_compared_side_by_side(trained: Document, open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_role("button", name="Compare").click()
    draw(page, THREE)
    expect(page.locator(".verdict strong")).to_have_text(["3", "3"])
    page.get_by_role("button", name="Remove this network").click()
    expect(page.locator(".verdict")).to_have_count(1)


def test_what_is_imported_reads_as_well(site: Site, trained: Document, open_page: OpenPage) -> None:
    parameters = site.client.get(f"/api/params/{trained['param_id']}").json()["parameters"]
    architecture = site.client.get(f"/api/models/{trained['model_id']}").json()["architecture"]
    imported = site.client.post("/api/params", {"architecture": architecture, "parameters": parameters}).json()
    page = open_page(fragment=f"#/draw/{imported['param_id']}")
    expect(page.get_by_role("option", name="imported")).to_have_count(1)
    expect(page.get_by_label("Network", exact=True)).to_have_value(imported["param_id"])
    draw(page, THREE)
    expect(page.locator(".verdict strong")).to_have_text("3")


def test_behind_a_prefix_that_a_proxy_strips_a_link_with_the_token_leads_in_and_loses_it_and_all_works(
    site: Site, trained: Document, blank_tab: OpenPage
) -> None:
    page = blank_tab()

    def strip(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace("/digits-for-all/", "/", 1)))

    page.route("**/digits-for-all/**", strip)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site.url}/digits-for-all/#token={WRITE}")
    expect(page.locator(".verdict")).to_have_text("Draw a digit")
    assert page.url == f"{site.url}/digits-for-all/#/"
    draw(page, ONE)
    expect(page.locator(".verdict strong")).to_have_text("1")
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    assert page.url == f"{site.url}/digits-for-all/#/runs"
    assert [address for address in asked if "/digits-for-all/" not in address] == []


def test_a_photo_on_bright_paper_is_read(trained: Document, open_page: OpenPage) -> None:
    page = open_page()
    page.locator("input[type=file]").set_input_files(
        {"name": "three.svg", "mimeType": "image/svg+xml", "buffer": b"not a picture"}
    )
    expect(page.get_by_role("alert")).to_contain_text("cannot read this file")
    photo = page.evaluate(
        """(strokes) => {
            const canvas = new OffscreenCanvas(400, 300), paint = canvas.getContext("2d");
            paint.fillStyle = "#ddd8cc"; paint.fillRect(0, 0, 400, 300);
            Object.assign(paint, { strokeStyle: "#223", lineWidth: 14, lineCap: "round", lineJoin: "round" });
            paint.beginPath();
            strokes.forEach(([x, y], i) => paint[i ? "lineTo" : "moveTo"](60 + x * 250, 20 + y * 250));
            paint.stroke();
            return canvas.convertToBlob().then((blob) => blob.arrayBuffer()).then((b) => [...new Uint8Array(b)]);
        }""",
        THREE[0],
    )
    page.locator("input[type=file]").set_input_files(
        {"name": "three.png", "mimeType": "image/png", "buffer": bytes(photo)}
    )
    expect(page.locator(".verdict strong")).to_have_text("3")
