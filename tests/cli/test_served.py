"""`models`, `runs`, `watch` and `infer` against a running server."""

from __future__ import annotations

import json
from pathlib import Path

import forking
import numpy as np
import pytest
from asking import Document, until
from checking_client import Client
from commands import Command, against, run, run_on_terminal
from PIL import Image
from small_networks import linear


def lines(client: Client, home: Path, *arguments: object) -> list[str]:
    done = run(client, home, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def only(client: Client) -> Document:
    """A run that has succeeded, and that no other test adds one to the model of."""
    return client.trained(epochs=3)


def test_models_and_runs_are_a_line_each_in_a_pipe(client: Client, only: Document, tmp_path: Path) -> None:
    (line,) = lines(client, tmp_path, "runs", "--model", only["model_id"])
    run_id, state, epoch, accuracy, created, outcome = line.split("\t")
    assert (run_id, state, epoch, outcome) == (only["run_id"], "succeeded", "3/3", only["param_id"])
    assert accuracy == f"{only['metrics']['val_accuracy']:.2%}"
    assert created == only["created_at"][:16].replace("T", " ")
    new = client.model()
    model_id, network, learning, _ = lines(client, tmp_path, "models", "--limit", "1")[0].split("\t")
    assert (model_id, network, learning) == (new, "784-16-10", "sgd, lr 0.1, 5 epochs")
    assert lines(client, tmp_path, "runs", "--model", new) == []


def test_lists_are_json_for_scripts(client: Client, only: Document, tmp_path: Path) -> None:
    (line,) = lines(client, tmp_path, "runs", "--json", "--model", only["model_id"], "--state", "succeeded")
    assert json.loads(line) == client.api.runs(model_id=only["model_id"])["items"]
    (line,) = lines(client, tmp_path, "models", "--json", "--limit", "2")
    assert json.loads(line) == client.api.models(limit=2)["items"]


def test_lists_are_tables_on_a_terminal(client: Client, only: Document, tmp_path: Path) -> None:
    status, shown = run_on_terminal(client, tmp_path, "runs", "--model", only["model_id"])
    assert status == 0
    names, row = shown.splitlines()
    assert names.split() == ["run", "state", "epoch", "accuracy", "created", "outcome"]
    assert only["run_id"] in row
    assert only["param_id"] in row


def test_a_narrow_terminal_cuts_no_cell(client: Client, only: Document, tmp_path: Path) -> None:
    status, shown = run_on_terminal(client, tmp_path, "runs", "--model", only["model_id"], columns=50)
    assert status == 0
    _, row = shown.splitlines()
    assert {only["run_id"], "succeeded", "3/3", only["param_id"]} <= set(row.split())


def test_a_run_is_watched_by_lines_in_a_pipe(client: Client, trained: Document, tmp_path: Path) -> None:
    *epochs, last = lines(client, tmp_path, "watch", trained["run_id"])
    assert [line.partition(":")[0] for line in epochs] == ["Epoch 1", "Epoch 2", "Epoch 3"]
    assert last == f"Parameters {trained['param_id']}"
    (line,) = lines(client, tmp_path, "watch", trained["run_id"], "--json")
    assert json.loads(line) == trained


def test_a_run_is_watched_by_its_curves_on_a_terminal(client: Client, tmp_path: Path) -> None:
    run_id = client.train(client.model(epochs=30))
    status, shown = run_on_terminal(client, tmp_path, "watch")  # the newest
    ended = client.run(run_id)
    assert status == 0, shown
    assert "30/30, succeeded" in shown
    assert f"loss: training {ended['metrics']['train_loss']:.4f} validation" in shown
    assert any("\u2801" <= character <= "\u28ff" for character in shown)
    assert shown.rstrip().endswith(f"Parameters {ended['param_id']}")


def test_a_run_that_does_not_succeed_ends_the_watching_in_one_sentence(client: Client, tmp_path: Path) -> None:
    layers = [linear(784, 32), linear(32, 32), linear(32, 10)]  # nothing holds the weights back
    body = {"architecture": {"input_size": 784, "layers": layers}, "hyperparams": {"optimizer": {"lr": 100}}}
    failed = client.train(client.model(body))
    client.wait(failed, "failed")
    with client.endless_run() as cancelled:
        pass
    for run_id, said in ((failed, "the run failed: "), (cancelled["run_id"], "the run was cancelled"), ("r_0", "404")):
        done = run(client, tmp_path, "watch", run_id)
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, drawn_digits: tuple[np.ndarray, np.ndarray]) -> list[Path]:
    """Two drawn digits as pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / "digit-0.png", folder / "digit-1.png"]
    for path, image in zip(paths, drawn_digits[0], strict=False):
        Image.fromarray(image.reshape(28, 28)).save(path)
    return paths


def test_pictures_are_read(client: Client, trained: Document, pictures: list[Path], tmp_path: Path) -> None:
    sent = np.array([np.asarray(Image.open(path)).reshape(784) for path in pictures])
    found = client.api.infer(trained["param_id"], sent)
    told = lines(client, tmp_path, "infer", *pictures, "--param", trained["param_id"])
    for line, path, label in zip(told, pictures, found.labels, strict=True):
        assert line.startswith(f"{path}  {label} (")
    (line,) = lines(client, tmp_path, "infer", *pictures, "--param", trained["param_id"], "--json")
    assert [each["label"] for each in json.loads(line)] == found.labels.tolist()
    assert np.allclose([each["probabilities"] for each in json.loads(line)], found.probabilities)


def test_what_the_network_is_given_is_drawn(
    client: Client, trained: Document, pictures: list[Path], tmp_path: Path
) -> None:
    shown = lines(client, tmp_path, "infer", pictures[0], "--show")
    assert len(shown) == 14
    assert shown[-1].startswith(f"{pictures[0]}  ")


def test_pictures_in_which_nothing_is_seen_are_named(
    client: Client, trained: Document, pictures: list[Path], tmp_path: Path
) -> None:
    nothing = tmp_path / "nothing.png"
    Image.new("L", (200, 200), "white").save(nothing)
    done = run(client, tmp_path, "infer", nothing, pictures[0], tmp_path / "missing.png")
    assert done.returncode == 1
    assert done.stdout.startswith(f"{pictures[0]}  ")
    assert done.stderr.splitlines()[:2] == [  # the server may warn of the noise that the pictures here are
        f"falcon-mnist: {nothing}: no digit can be seen",
        f"falcon-mnist: {tmp_path / 'missing.png'}: No such file or directory",
    ]
    alone = run(client, tmp_path, "infer", nothing)
    assert (alone.returncode, alone.stdout) == (1, "")
    assert alone.stderr == f"falcon-mnist: {nothing}: no digit can be seen\n"


def test_pictures_without_pillow_are_a_sentence(client: Client, pictures: list[Path], tmp_path: Path) -> None:
    done = Command("PIL", "infer", pictures[0], env=against(client, tmp_path), main="missing:main").end()
    assert done.returncode == 1
    assert done.stderr == "falcon-mnist: pictures need Pillow: pip install 'falcon-mnist[images]'\n"


def test_shells_complete_what_the_server_has(client: Client, trained: Document, tmp_path: Path) -> None:
    def completed(words: str, **more: str) -> str:
        asked = {"_FALCON_MNIST_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        variables = against(client, tmp_path, **asked, **more)
        return forking.run(env=variables, timeout=60).stdout

    run_id = client.api.runs(limit=1)["items"][0]["run_id"]
    param_id = client.api.parameter_sets(limit=1)["items"][0]["param_id"]
    # On a busy machine the server may take longer than a shell waits: then its user asks again.
    until(lambda: run_id in completed("falcon-mnist watch "), "the newest run is named")
    until(lambda: param_id in completed("falcon-mnist export "), "the newest parameter set is named")
    assert completed("falcon-mnist watch ", FALCON_MNIST_URL="http://127.0.0.1:1").strip() == ""
