"""One run: its curves, its facts, and others laid over it."""

from __future__ import annotations

import json
import re
import shlex

from asking import Document, until
from browsing import OpenPage, Site
from playwright.sync_api import Route, expect
from small_networks import RESTING, architecture


def test_the_curves_mark_the_best_epoch(trained: Document, open_page: OpenPage) -> None:
    page = open_page(fragment=f"#/runs/{trained['run_id']}")
    expect(page.get_by_role("heading", name="784-128-10")).to_be_visible()
    loss = page.get_by_role("figure").filter(has=page.get_by_role("heading", name="Loss"))
    lines = loss.locator("polyline")
    expect(lines).to_have_count(2)
    for line in lines.all():
        assert len((line.get_attribute("points") or "").split()) == len(trained["history"])
    expect(loss).to_contain_text(f"lowest loss: epoch {trained['best_epoch']}")
    best = max(trained["history"], key=lambda epoch: epoch["val_accuracy"])
    expect(page.locator("main")).to_contain_text(f"{best['val_accuracy']:.2%}".replace("%", " %"))
    expect(page.get_by_text("Epoch 20: validation").first).to_be_visible()
    loss.locator("svg").hover(position={"x": 60, "y": 50})
    expect(loss).to_contain_text(re.compile(r"Epoch [12]: validation"))


def test_a_running_run_grows_and_is_cancelled_where_it_is_shown(site: Site, open_page: OpenPage) -> None:
    run_id = site.client.train(site.client.model(RESTING))
    page = open_page(fragment=f"#/runs/{run_id}")
    expect(page.get_by_text("running")).to_be_visible()
    expect(page.locator("polyline").first).to_have_attribute("points", re.compile(r"\S+ \S+"))
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("cancelled")).to_be_visible()


def test_a_run_is_stopped_and_what_it_has_learnt_is_kept(site: Site, open_page: OpenPage) -> None:
    run_id = site.client.train(site.client.model(RESTING))
    page = open_page(fragment=f"#/runs/{run_id}")
    page.get_by_role("button", name="Stop and keep").click()
    expect(page.get_by_text("succeeded")).to_be_visible()
    expect(page.get_by_role("link", name="Draw a digit")).to_be_visible()
    assert site.client.run(run_id)["param_id"]


def test_who_leaves_before_the_run_has_been_looked_at_again_leaves_no_failure(site: Site, open_page: OpenPage) -> None:
    run_id = site.client.train(site.client.model(RESTING))
    page = open_page(fragment=f"#/runs/{run_id}")
    expect(page.get_by_text("running")).to_be_visible()
    held: list[Route] = []
    page.route(f"**/api/runs/{run_id}", lambda route: held.append(route))
    page.get_by_role("button", name="Stop and keep").click()
    # Once because it is time, and once because it was stopped; each waits for its answer.
    until(lambda: page.title() and len(held) == 2, "the run is looked at twice")
    open_page(fragment="#/runs")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    page.unroute_all(behavior="ignoreErrors")


def test_laid_over_each_other_runs_show_only_what_differs(site: Site, trained: Document, open_page: OpenPage) -> None:
    other = site.client.trained({"architecture": architecture(16)}, epochs=1)
    page = open_page(fragment=f"#/runs/{trained['run_id']}")
    page.get_by_label("Lay over").focus()
    page.get_by_label("Lay over").select_option(other["run_id"])
    expect(page.get_by_role("heading", name="2 runs")).to_be_visible()
    rows = page.get_by_role("region", name="What differs").get_by_role("rowheader")
    expect(rows.filter(has_text="optimizer.type")).to_be_visible()
    expect(rows.filter(has_text="batch_size")).to_have_count(0)
    page.get_by_role("link", name="Only the first").click()
    expect(page.get_by_role("heading", name="Hyperparameters")).to_be_visible()


def test_the_curl_commands_start_the_same_run(site: Site, trained: Document, open_page: OpenPage) -> None:
    page = open_page(fragment=f"#/runs/{trained['run_id']}")
    page.get_by_text("The same with curl").click()
    text = page.locator("pre").inner_text()
    words = shlex.split(text.replace("\\\n", " "))
    url = next(word for word in words if word.endswith("/api/models"))
    assert url == f"{site.url}/api/models"
    body = json.loads(re.findall(r"-d '(.*)'", text)[0])
    assert body["hyperparams"] == trained["hyperparams"]
    assert site.client.post("/api/models", body).status_code == 200


def test_a_run_that_is_not_there_is_said(open_page: OpenPage) -> None:
    page = open_page(fragment="#/runs/r_0")
    expect(page.get_by_role("alert")).to_have_text("There is no run with this run_id.")
    expect(page.get_by_role("figure")).to_have_count(0)
