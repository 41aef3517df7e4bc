"""Alert rules, dashboard and configuration, as Prometheus' own tool judges them; CI installs it and skips nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from checking_client import Client
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/prometheus"
ALERTS = FOLDER / "alerts.yml"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
MONITORING = (ROOT / "docs/operations.md").read_text().split("\n## Monitoring\n")[1].split("\n## ")[0]

needs_promtool = pytest.mark.skipif(not shutil.which("promtool") and "CI" not in os.environ, reason="needs promtool")


def promtool(*arguments: str | Path) -> None:
    ran = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture
def queries() -> list[str]:
    """What the dashboard asks, with Grafana's variables filled in."""
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    written = [target["expr"] for panel in panels for target in panel["targets"]]
    return [expr.replace("$job", "falcon-mnist").replace("$__rate_interval", "1m") for expr in written]


@needs_promtool
def test_prometheus_takes_rules_and_configuration() -> None:
    promtool("check", "rules", ALERTS)
    promtool("check", "config", "--syntax-only", FOLDER / "prometheus.yml")


@needs_promtool
def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", ROOT / "tests/deploy/alerts.yml")


@needs_promtool
def test_prometheus_understands_the_dashboard(queries: list[str], tmp_path: Path) -> None:
    rules = [{"record": f"panel_{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", file)


def test_rules_dashboard_and_document_name_what_is_there(client: Client, queries: list[str]) -> None:
    client.get("/api/version")
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    there = {sample.name for family in families for sample in family.samples}
    asked = set(re.findall(r"falcon_mnist_\w+|process_\w+", "\n".join([*queries, ALERTS.read_text()])))
    assert len(asked) > 15
    assert asked <= there
    documented = set(re.findall(r"`(falcon_mnist_\w+)`", MONITORING))
    ours = [family for family in families if family.name.startswith("falcon_mnist")]
    assert documented == {family.name + ("_total" if family.type == "counter" else "") for family in ours}


def test_the_document_explains_every_alert() -> None:
    alerts = re.findall(r"alert: (\w+)", ALERTS.read_text())
    assert re.findall(r"^\| `(FalconMnist\w+)` \|", MONITORING, flags=re.M) == alerts
    tried = set(re.findall(r'alertname="(\w+)"', (ROOT / "tests/deploy/alerts.yml").read_text()))
    assert tried == set(alerts)
