"""Runs: started from the form, watched, filtered, paged and cancelled."""

from __future__ import annotations

from asking import READ, WRITE, Document
from browsing import OpenPage, Site
from playwright.sync_api import Page, expect
from small_networks import RESTING, architecture


def start(page: Page) -> None:
    page.get_by_role("button", name="Start", exact=True).click()


def test_a_run_is_started_from_the_form_and_watched_to_its_end(site: Site, open_page: OpenPage) -> None:
    page = open_page(fragment="#/train")
    page.get_by_label("Hidden layers").fill("32, 16")
    page.get_by_label("Epochs", exact=True).fill("2")
    page.get_by_label("Type").first.select_option("adamw")
    page.get_by_label("Lr").fill("0.002")
    page.get_by_label("Augmentation").check()
    page.get_by_label("Shift").fill("1.5")
    start(page)
    page.wait_for_url("**/#/runs/r_*")
    run = site.client.wait(page.url.rpartition("/")[2], "succeeded")
    assert run["hyperparams"]["optimizer"] == {
        "type": "adamw", "lr": 0.002, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01,
    }  # fmt: skip
    assert run["hyperparams"]["augmentation"]["shift"] == 1.5
    page.goto(f"{site.url}/#/runs")
    row = page.get_by_role("row").filter(has_text="784-32-16-10").first
    expect(row).to_contain_text("succeeded")
    expect(row).to_contain_text("2 of 2")


def test_the_form_knows_every_hyperparameter_and_sends_the_defaults(site: Site, open_page: OpenPage) -> None:
    page = open_page(fragment="#/train")
    page.get_by_label("Hidden layers").fill("")
    start(page)
    page.wait_for_url("**/#/runs/r_*")
    run = site.client.wait(page.url.rpartition("/")[2], "succeeded")
    of_defaults = site.client.post("/api/models", {"architecture": architecture()}).json()
    assert run["hyperparams"] == of_defaults["hyperparams"]
    assert site.client.get(f"/api/models/{run['model_id']}").json()["architecture"] == of_defaults["architecture"]


def test_faults_stand_beside_their_fields(open_page: OpenPage) -> None:
    page = open_page(fragment="#/train")
    page.get_by_label("Epochs", exact=True).fill("0")
    page.get_by_label("Lr").fill("fast")
    start(page)
    epochs = page.get_by_label("Epochs", exact=True)
    expect(epochs).to_have_attribute("aria-invalid", "true")
    expect(epochs).to_be_focused()
    expect(page.locator(".field", has=epochs)).to_contain_text("epochs must be at least 1")
    expect(page.locator(".field", has=page.get_by_label("Lr"))).to_contain_text("lr must be a number")
    page.get_by_label("Hidden layers").fill("12, many")
    start(page)
    expect(page.get_by_label("Hidden layers")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Hidden layers").fill("12")
    epochs.fill("1")
    page.get_by_label("Lr").fill("0.1")
    start(page)
    page.wait_for_url("**/#/runs/r_*")


def test_a_recipe_and_an_earlier_run_fill_the_form(site: Site, trained: Document, open_page: OpenPage) -> None:
    recipe = site.client.get("/api/recipes").json()["items"][0]
    page = open_page(fragment="#/train")
    page.get_by_label("Begin with").first.select_option(label=f"Recipe {recipe['name']}")
    expect(page.get_by_label("Epochs", exact=True)).to_have_value(str(recipe["hyperparams"]["epochs"]))
    page.goto(f"{site.url}/#/runs")
    page.locator(f"a[href='#/train/like/{trained['run_id']}']").click()
    expect(page.get_by_label("Rotation")).to_have_value("10")  # a field of the form alone, not of the list left behind
    expect(page.get_by_label("Epochs", exact=True)).to_have_value("20")
    page.get_by_label("Epochs", exact=True).fill("1")
    page.get_by_label("Begin with what that run has learned").check()
    start(page)
    page.wait_for_url("**/#/runs/r_*")
    run = site.client.wait(page.url.rpartition("/")[2], "succeeded")
    assert run["start_from"] == trained["param_id"]


def test_a_run_is_cancelled_after_a_question(site: Site, open_page: OpenPage) -> None:
    run_id = site.client.train(site.client.model(RESTING))
    page = open_page(fragment="#/runs")
    row = page.get_by_role("row").filter(has=page.locator(f"a[href='#/runs/{run_id}']"))
    page.once("dialog", lambda dialog: dialog.dismiss())
    row.get_by_role("button", name="Cancel").click()
    assert site.client.run(run_id)["state"] in ("queued", "running")
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("cancelled")
    expect(row.get_by_role("button", name="Cancel")).to_be_hidden()
    assert site.client.run(run_id)["state"] == "cancelled"


def test_a_run_is_deleted_after_a_question(site: Site, open_page: OpenPage) -> None:
    run_id = site.client.trained()["run_id"]
    page = open_page(fragment="#/runs")
    row = page.get_by_role("row").filter(has=page.locator(f"a[href='#/runs/{run_id}']"))
    page.once("dialog", lambda dialog: dialog.dismiss())
    row.get_by_role("button", name="Delete").click()
    expect(row).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    assert site.client.get(f"/api/runs/{run_id}").status_code == 404


def test_a_failed_run_says_why_in_place(site: Site, open_page: OpenPage) -> None:
    sgd = {"type": "sgd", "lr": 100, "momentum": 0.99}
    deep = {"architecture": architecture(64, 64, 64, 64), "hyperparams": {"optimizer": sgd}}
    run = site.client.wait(site.client.train(site.client.model(deep)), "failed")
    page = open_page(fragment="#/runs")
    page.get_by_label("Show").select_option("failed")
    expect(page.get_by_role("row").nth(1)).to_contain_text(run["error"]["message"])
    expect(page.get_by_role("row").filter(has_text="succeeded")).to_have_count(0)


def test_runs_are_paged(site: Site, open_page: OpenPage) -> None:
    model_id = site.client.model(epochs=1, batch_size=4096)
    runs = [site.client.train(model_id) for _ in range(22)][::-1]
    for run_id in runs:  # they need not be trained to be listed
        site.client.post(f"/api/runs/{run_id}/cancel")
    page = open_page(fragment="#/runs")
    links = page.locator("tbody a[href^='#/runs/']")
    expect(links).to_have_count(20)
    page.get_by_role("button", name="Older").click()
    expect(links.first).to_have_attribute("href", f"#/runs/{runs[20]}")
    page.get_by_role("button", name="Newer").click()
    expect(links.first).to_have_attribute("href", f"#/runs/{runs[0]}")


def test_a_read_only_token_sees_everything_and_changes_nothing(
    site: Site, trained: Document, blank_tab: OpenPage
) -> None:
    """Until a link in the same tab brings a token that may write."""
    page = blank_tab()
    with site.client.endless_run() as run:
        for token, writes in ((READ, False), (WRITE, True)):
            page.goto(f"{site.url}/#token={token}")
            page.get_by_role("link", name="Runs", exact=True).click()
            row = page.get_by_role("row").filter(has=page.locator(f"a[href='#/runs/{run['run_id']}']"))
            expect(row).to_contain_text("running")
            expect(row.get_by_role("button", name="Cancel")).to_be_visible(visible=writes)
            expect(page.get_by_role("button", name="Delete").first).to_be_visible(visible=writes)
            page.goto(f"{site.url}/#/train")
            expect(page.get_by_role("button", name="Start", exact=True)).to_be_enabled(enabled=writes)


def test_a_server_that_is_gone_is_said_and_one_that_is_back_goes_on(
    site: Site, trained: Document, open_page: OpenPage
) -> None:
    page = open_page(fragment="#/runs")
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    page.context.set_offline(True)
    try:
        expect(page.get_by_text("The server does not answer")).to_be_visible()
        page.get_by_role("link", name="Draw").click()
        page.get_by_role("link", name="Runs", exact=True).click()
    finally:
        page.context.set_offline(False)  # all tabs are
    expect(page.get_by_text("The server does not answer")).to_be_hidden()
    expect(page.get_by_role("row").nth(1)).to_be_visible()
