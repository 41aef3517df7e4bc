"""What is seen in a network: its mistakes, and the weights of its first layer."""

from __future__ import annotations

from asking import Document
from browsing import OpenPage, Site
from playwright.sync_api import Page, expect
from small_networks import RESTING


def pixels_of(page: Page, selector: str) -> list[int]:
    found: list[int] = page.locator(selector).first.evaluate(
        "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    )
    return found


def test_a_mistake_is_opened(site: Site, trained: Document, open_page: OpenPage) -> None:
    evaluation = site.client.get(f"/api/params/{trained['param_id']}/evaluation").json()
    mistake = evaluation["mistakes"][0]
    page = open_page(fragment=f"#/runs/{trained['run_id']}")
    expect(page.get_by_text(f"{evaluation['accuracy']:.2%}".replace("%", " %"))).to_be_visible()
    times = evaluation["confusion"][mistake["label"]][mistake["predicted"]]
    name = f"{times} times {mistake['label']} taken for {mistake['predicted']}"
    page.get_by_role("button", name=name).click()
    expect(page.get_by_role("heading", name=f"{mistake['label']} taken for {mistake['predicted']}")).to_be_visible()
    digits = page.locator(".digits li")
    expect(digits).to_have_count(min(40, times))
    expect(digits.first).to_contain_text(f"{mistake['label']} → {mistake['predicted']}")
    image = site.client.get("/api/digits/test", params={"indices": str(mistake["index"])}).json()["images"][0]
    assert pixels_of(page, ".digits canvas")[::4] == image
    page.route("**/api/digits/test*", lambda route: route.abort())  # as where the server is gone
    page.get_by_role("button", name=name).click()
    expect(page.locator(".wrong").get_by_text("The server does not answer.")).to_be_visible()
    page.unroute_all()


def test_a_network_that_did_not_learn_is_called_that(site: Site, trained: Document, open_page: OpenPage) -> None:
    run = site.client.trained(optimizer={"type": "adam", "lr": 1e-9})
    page = open_page(fragment=f"#/runs/{run['run_id']}")
    expect(page.get_by_text("The network did not learn")).to_be_visible()
    page = open_page(fragment=f"#/runs/{trained['run_id']}")
    expect(page.get_by_text("Where it is wrong")).to_be_visible()
    expect(page.get_by_text("The network did not learn")).to_have_count(0)


def test_the_first_layer_is_shown_as_tiles(trained: Document, open_page: OpenPage) -> None:
    page = open_page(fragment=f"#/runs/{trained['run_id']}")
    tiles = page.get_by_role("img", name="Weights of 64 units")
    expect(tiles).to_be_visible()
    page.get_by_role("button", name="All 128").click()
    expect(page.get_by_role("img", name="Weights of 128 units")).to_be_visible()
    painted = "(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
    assert page.locator(".tiles").evaluate(painted)


def test_weights_are_seen_while_a_run_trains(site: Site, open_page: OpenPage) -> None:
    run_id = site.client.train(site.client.model(RESTING))
    try:
        page = open_page(fragment=f"#/runs/{run_id}")
        expect(page.get_by_role("img", name="Weights of 64 units")).to_be_visible()
    finally:
        site.client.post(f"/api/runs/{run_id}/cancel")


def test_a_test_digit_is_read(trained: Document, open_page: OpenPage) -> None:
    page = open_page()
    expect(page.locator(".verdict")).to_have_text("Draw a digit")
    page.get_by_role("button", name="Test digit").click()
    expect(page.locator(".verdict strong")).to_be_visible()
    assert any(pixels_of(page, ".digit")[::4])
