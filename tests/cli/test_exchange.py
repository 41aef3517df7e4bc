"""`export`, `import` and `prune` as a person types them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import forking
import numpy as np
import pytest
import safetensors.numpy
import typer
from asking import WRITE, Document
from checking_client import Client
from on_disk import OnDisk
from server_process import Server, environment

from falcon_mnist.cli.prune import age, prune
from falcon_mnist.clock import Clock
from falcon_mnist.settings import Settings


def run(*arguments: object, home: Path, typed: str = "", **settings: object) -> subprocess.CompletedProcess[str]:
    variables = environment(home, tokens=None, **settings)
    return forking.run(*arguments, env=variables, input=typed, timeout=60)


@pytest.fixture
def here(client: Client, tmp_path: Path) -> list[object]:
    """The options that name the session's server."""
    (tmp_path / "token").write_text(f"{WRITE}\n")
    return ["--url", str(client.url), "--token-file", tmp_path / "token"]


@pytest.mark.parametrize("name", ["safetensors", "onnx", "npz", "json"])
def test_what_is_exported_is_what_the_server_answers(
    client: Client, trained: Document, here: list[object], tmp_path: Path, name: str
) -> None:
    file = tmp_path / "exported"
    done = run("export", trained["param_id"], "--format", name, "-o", file, *here, home=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{file}\n"), done.stderr
    assert file.read_bytes() == client.get(f"/api/params/{trained['param_id']}?format={name}").content
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_file_that_is_there_is_replaced_only_if_that_is_wanted(
    trained: Document, here: list[object], tmp_path: Path
) -> None:
    file = tmp_path / "exported"
    file.write_bytes(b"another")
    refused = run("export", trained["param_id"], "-o", file, *here, home=tmp_path)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert file.read_bytes() == b"another"
    assert run("export", trained["param_id"], "-o", file, "--force", *here, home=tmp_path).returncode == 0
    assert file.read_bytes() != b"another"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_link_stays_and_the_file_that_it_names_is_written(
    client: Client, trained: Document, here: list[object], tmp_path: Path
) -> None:
    link, file = tmp_path / "link", tmp_path / "folder" / "file"
    file.parent.mkdir()
    link.symlink_to(file)
    for force in ([], ["--force"]):  # the file is not there yet, and then it is
        done = run("export", trained["param_id"], "-o", link, *force, *here, home=tmp_path)
        assert (done.returncode, done.stdout) == (0, f"{link}\n"), done.stderr
        assert link.readlink() == file
        assert file.read_bytes() == client.get(f"/api/params/{trained['param_id']}?format=safetensors").content


def test_what_cannot_be_written_is_said_by_the_name_that_was_given(
    trained: Document, here: list[object], tmp_path: Path
) -> None:
    fifo, link, folder = tmp_path / "fifo", tmp_path / "link", tmp_path / "folder"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    folder.mkdir()
    no_file = "is there already and is no regular file: name another with --output"
    for output, said in (
        (tmp_path / "none" / "x", "cannot be written (No such file or directory): name another with --output"),
        *((there, no_file) for there in (fifo, link, folder)),
    ):
        done = run("export", trained["param_id"], "-o", output, "--force", *here, home=tmp_path)
        assert (done.returncode, done.stderr) == (1, f"falcon-mnist: {output} {said}\n")
    assert fifo.is_fifo()
    assert link.readlink() == fifo


def test_what_is_exported_comes_back(client: Client, trained: Document, here: list[object], tmp_path: Path) -> None:
    file = tmp_path / "digits.safetensors"
    run("export", trained["param_id"], "-o", file, *here, home=tmp_path)
    done = run("import", file, *here, home=tmp_path)
    assert done.returncode == 0, done.stderr
    param_id = done.stdout.split()[1]
    shown = [client.get(f"/api/params/{each}").json()["parameters"] for each in (param_id, trained["param_id"])]
    assert shown[0] == shown[1]


def test_refusals_are_sentences(client: Client, trained: Document, here: list[object], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    tensors = {"0.weight": np.zeros((9, 784), np.float32), "0.bias": np.zeros(9, np.float32)}
    wrong.write_bytes(safetensors.numpy.save(tensors))
    other = tmp_path / "other"
    other.write_text("another-token-of-nobody\n")
    for arguments, said in (
        (["import", wrong, "--activation", "relu", *here], "/0.weight: is the last layer"),
        (["import", wrong, *here], ": --activation: is required"),
        (["import", tmp_path / "nothing", *here], "No such file"),
        (["export", "p_0", *here], "404: There is no parameter set"),
        (
            ["export", "p_0", "--url", "http://127.0.0.1:1", "--token-file", other],
            "start `falcon-mnist serve`, or name a server with --url",
        ),
        (["export", "p_0", "--url", client.url, "--token-file", other], "does not know this token"),
        (["export", "p_0", "--url", client.url, "--token-file", tmp_path / "none"], "there is no token in"),
    ):
        done = run(*arguments, home=tmp_path)
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert "another-token-of-nobody" not in done.stdout + done.stderr


@pytest.fixture
def aged(serve: Callable[..., Server]) -> tuple[OnDisk, list[Document]]:
    """A home without a server, with four runs that ended long ago, the third of them the best, and one of today."""
    server = serve()
    with Client(server.url()) as client:
        runs = [client.trained(epochs=1, seed=seed) for seed in range(5)]
        client.model()
    server.stop()
    for number, run_ in enumerate(runs[:4]):
        day = f"'2020-01-0{number + 1}T00:00:00.000000Z'"
        server.on_disk.change(f"UPDATE runs SET finished_at = {day} WHERE id = '{run_['run_id']}'")
        server.on_disk.change(f"UPDATE models SET created_at = {day} WHERE id = '{run_['model_id']}'")
        server.on_disk.change(
            f"UPDATE epochs SET val_accuracy = 0.{5 + (number == 2)} WHERE run_id = '{run_['run_id']}'"
        )
    server.on_disk.change(f"UPDATE epochs SET val_accuracy = 0.1 WHERE run_id = '{runs[4]['run_id']}'")
    return server.on_disk, runs


def ids(on_disk: OnDisk) -> list[str]:
    return [row[0] for row in on_disk.query("SELECT id FROM runs ORDER BY number")]


def test_pruning_says_what_goes_and_asks(aged: tuple[OnDisk, list[Document]]) -> None:
    on_disk, runs = aged
    arguments = ("prune", "--older-than", "30d", "--keep-best", "1")
    for typed in ("n\n", ""):
        done = run(*arguments, home=on_disk.home, typed=typed)
        assert done.returncode == 1
        assert "3 succeeded" in done.stdout
        assert len(ids(on_disk)) == 5
    done = run(*arguments, home=on_disk.home, typed="y\n")
    assert done.returncode == 0, done.stderr
    assert ids(on_disk) == [runs[2]["run_id"], runs[4]["run_id"]]
    files = {path.stem for path in (on_disk.storage / "parameters").iterdir()}
    assert files == {runs[2]["param_id"], runs[4]["param_id"]}
    assert on_disk.query("SELECT count(*) FROM models") == [(3,)]  # with the one of today that was never trained
    again = run(*arguments, "--yes", home=on_disk.home)
    assert "none" in again.stdout
    assert ids(on_disk) == [runs[2]["run_id"], runs[4]["run_id"]]


def test_ages_are_counted_from_the_clock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    third_day = Clock(wall=lambda: 2 * 86_400.0)
    prune(Settings(home=tmp_path), age("12h"), 0, ask=False, clock=third_day)
    assert "before 1970-01-02T12:00Z: none" in capsys.readouterr().out


def test_an_age_that_is_none_is_refused(tmp_path: Path) -> None:
    for text in ("30", "d", "-1d", "1y", "999999d"):
        with pytest.raises(typer.BadParameter, match="must be a number and m, h, d or w"):
            age(text)
    done = run("prune", "--older-than=-1d", home=tmp_path)
    assert done.returncode == 2
    assert "must be a number and m, h, d or w" in " ".join(done.stderr.replace("│", " ").split())
