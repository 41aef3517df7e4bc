"""`falcon-mnist digits` and `token`: what a request is made of."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import forking
import numpy as np
import pytest
from asking import PATIENCE, WRITE
from commands import Command
from server_process import environment
from test_show import decoded

from falcon_mnist.data import dataset


def run(home: Path, digits: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    variables = environment(home, dataset=digits, workers=1, tokens=None) | {"COLUMNS": "100"} | variables
    return forking.run_raw(*arguments, env=variables, timeout=PATIENCE)


@pytest.fixture
def images(tmp_path: Path, digits: Path) -> np.ndarray:
    return np.asarray(dataset.load(str(digits), tmp_path).test_images)


def test_json_is_a_body_without_the_parameters(tmp_path: Path, digits: Path, images: np.ndarray) -> None:
    ended = run(tmp_path, digits, "digits", "--count", "3", "--start", "5")
    assert ended.stderr == b""
    body = json.loads(ended.stdout)
    assert body.keys() == {"inputs"}
    sent = np.array(body["inputs"]).astype(np.float32)
    assert np.array_equal(sent, images[5:8].astype(np.float32) / np.float32(255))


def test_raw_is_bytes_of_one_label(tmp_path: Path, digits: Path, images: np.ndarray) -> None:
    ended = run(tmp_path, digits, "digits", "--count", "2", "--start", "10", "--label", "7", "--format", "raw")
    assert ended.stdout == images[[17, 27]].tobytes()  # every tenth is a 7


def test_pictures_have_a_file_each(tmp_path: Path, digits: Path, images: np.ndarray) -> None:
    ended = run(tmp_path, digits, "digits", "--label", "3", "--format", "png", "--folder", str(tmp_path))
    (name,) = ended.stdout.decode().splitlines()
    assert name == str(tmp_path / "digit-3-is-3.png")
    assert np.array_equal(decoded(Path(name).read_bytes()), images[3].reshape(28, 28))


def test_they_are_drawn_beside_what_is_sent(tmp_path: Path, digits: Path) -> None:
    ended = run(tmp_path, digits, "digits", "--show")
    assert json.loads(ended.stdout)
    assert b"0 (test digit 0)" in ended.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--start", "100"], "there is no test digit from number 100 on: there are 100 test digits"),
        (["--count", "513"], "--count: a request takes at most 512 digits"),
    ],
)
def test_digits_that_cannot_be_sent_are_refused(tmp_path: Path, digits: Path, options: list[str], says: str) -> None:
    ended = run(tmp_path, digits, "digits", *options)
    assert ended.returncode == 1
    assert ended.stderr.decode() == f"falcon-mnist: {says}\n"


@pytest.mark.parametrize("form", ["json", "raw"])
def test_a_closed_output_is_said_in_one_line(tmp_path: Path, digits: Path, form: str) -> None:
    variables = environment(tmp_path, dataset=digits, workers=1, tokens=None)
    ended = Command("digits", "--format", form, env=variables, main="closed_output:command").end()
    said = "standard output is closed: send the digits to a file or a program"
    assert (ended.returncode, ended.stderr) == (1, f"falcon-mnist: {said}\n")


def test_standard_error_may_be_closed(tmp_path: Path, digits: Path) -> None:
    variables = environment(tmp_path, dataset=digits, workers=1, tokens=None)
    ended = Command("digits", "--show", env=variables, main="closed_output:command_without_error").end()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(json.loads(ended.stdout)["inputs"]) == 1


def test_the_token_is_that_of_the_settings(tmp_path: Path, digits: Path) -> None:
    missing = run(tmp_path, digits, "token")
    assert missing.returncode == 1
    assert b"there is no token yet" in missing.stderr
    (tmp_path / "token").write_text("made-at-first-start\n")
    assert run(tmp_path, digits, "token").stdout == b"made-at-first-start\n"
    assert run(tmp_path, digits, "token", FALCON_MNIST_TOKENS=WRITE).stdout == f"{WRITE}\n".encode()
    (tmp_path / "token").write_text("read\n")
    unusable = run(tmp_path, digits, "token")
    assert unusable.returncode == 1
    assert b"cannot be used" in unusable.stderr
