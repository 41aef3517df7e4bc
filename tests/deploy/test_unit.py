"""The systemd unit, as systemd itself judges it. CI installs systemd, so that nothing is skipped there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy/falcon-mnist.service"
# Ten times the exposure: systemd says OK from 50 down. What is left is mostly the network, which a server needs.
MOST_EXPOSED = 20

pytestmark = pytest.mark.skipif(
    not shutil.which("systemd-analyze") and "CI" not in os.environ, reason="needs systemd-analyze"
)


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_unit_is_hardened() -> None:
    judged = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", UNIT)
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_systemd_knows_every_line(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/falcon-mnist/bin/falcon-mnist", shutil.which("true") or ""))
    verified = analyze("verify", copy)
    assert (verified.returncode, verified.stderr) == (0, "")
