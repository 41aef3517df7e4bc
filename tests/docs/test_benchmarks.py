"""How figures of bench/ become the tables of the documents: the arithmetic of pairs, and what is written where."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNELS = {
    "machine_info": {
        "machine": "a machine", "left_out": ["JAX"], "blas": "openblas", "versions": {"NumPy, 1 thread": "2.0"},
        "limits": {"avx2": {"flop": 100e9, "bandwidth": 200e9}},
    },
    "benchmarks": [
        {
            "group": "gemm 10x10x10", "fullname": "bench/bench_gemm.py::bench_gemm", "stats": {"median": 1e-7},
            "extra_info": {"contender": "falcon-mnist, avx2", "isa": "avx2", "flop": 2000},
        },
        {
            "group": "gemm 10x10x10", "fullname": "bench/bench_gemm.py::bench_gemm", "stats": {"median": 9e-7},
            "extra_info": {
                "contender": "NumPy, 1 thread", "isa": "", "flop": 2000,
                "paired": {"ours": 4e-8, "theirs": 5e-8, "ratio": 1.25, "low": 1.2, "high": 1.3},
            },
        },
    ],
}  # fmt: skip
TRAINING = {
    "machine": "a machine",
    "command": "python bench/training.py --rounds 3",
    "training": {
        "784-128-10": {
            "seconds": {"ours": [0.1, 0.2, 0.1], "PyTorch, 1 thread": [1, 1, 1], "PyTorch, 2 threads": [0.5, 0.8, 0.4]},
            "memory_mb": 99.6, "outside": 0.071, "validation": 0.03, "dense_limit": 0.2,
        },
        "tanh": {
            "seconds": {"ours": [0.12, 0.2, 0.12], "784-128-10": [0.1, 0.2, 0.1]},
            "memory_mb": 99.6, "outside": 0.071, "validation": 0.03, "dense_limit": 0.2,
        },
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))


def test_ratios_are_taken_pair_by_pair() -> None:
    import paired

    found = paired.of([1, 10, 2], [2, 30, 2])
    assert found == (2, 2, 2, 1.5, 2.5)
    assert str(found) == "2.00 (1.50 to 2.50)"
    assert paired.of([2], [3]) == (2, 3, 1.5, 1.5, 1.5)


def test_both_of_a_pair_are_called_alike() -> None:
    import paired

    calls = []
    found = paired.paired(lambda: calls.append("ours"), lambda: calls.append("theirs"), pairs=3, seconds=0)
    assert calls[-6:] == ["ours", "theirs"] * 3
    assert found.low <= found.ratio <= found.high


def test_tables_go_between_their_markers(tmp_path: Path) -> None:
    import table

    front, performance = tmp_path / "README.md", tmp_path / "performance.md"
    for document, names in {front: ("summary",), performance: ("training", "kernels")}.items():
        document.write_text(
            "".join(f"before\n<!-- bench:{x} -->\nold\n<!-- /bench:{x} -->\n" for x in names) + "after\n"
        )
    files = [tmp_path / "kernels.json", tmp_path / "training.json"]
    for file, report in zip(files, (KERNELS, TRAINING), strict=True):
        file.write_text(json.dumps(report))
    table.main([*map(str, files), "--write"], front=front, performance=performance)
    written = performance.read_text()
    assert "old" not in written
    assert written.count("before\n<!-- bench:") == 2
    assert written.endswith("<!-- /bench:kernels -->\nafter\n")
    # 2,000 operations in the 40 ns of the pair, half of a peak of 100
    assert "| 10x10x10 | 50.0 | 50% | 40.0 | 1.25 |  |  |  |" in written
    assert "`pytest bench/bench_gemm.py --benchmark-json FILE`; a machine." in written
    assert "Not installed, so left out: JAX." in written
    assert "| 784-128-10 | 100 ms | 500 ms, 2 threads | 4.00 (4.00 to 4.50) |  |  | 200 ms | 7% | 100 MB |" in written
    assert "without momentum: tanh 1.20 (1.10 to 1.20)." in written
    assert "`python bench/training.py --rounds 3`; a machine." in written
    summary = front.read_text()
    assert "| 784-128-10 | 100 ms | 4.00 (4.00 to 4.50) |  |" in summary
    assert "tanh" not in summary
    assert summary.endswith("<!-- /bench:summary -->\nafter\n")


PLACES = [("README.md", "summary"), *(("docs/performance.md", name) for name in ("training", "kernels", "load"))]


@pytest.mark.parametrize(("document", "name"), PLACES)
def test_each_table_has_its_place(document: str, name: str) -> None:
    text = (ROOT / document).read_text()
    assert text.index(f"<!-- bench:{name} -->") < text.index(f"<!-- /bench:{name} -->")


DURATIONS = {2.5: "2.5 s", 1234: "1234 s", 0.01234: "12.3 ms", 0.9996: "1000 ms", 5e-6: "5 µs", 1e-8: "0.01 µs"}


@pytest.mark.parametrize(("seconds", "shown"), DURATIONS.items())
def test_durations(seconds: float, shown: str) -> None:
    import table

    assert table.duration(seconds) == shown


def test_the_table_of_recipes_is_what_was_measured() -> None:
    """And every error is what the recipe's line promises, or a recipe was changed and has to be measured again."""
    import learning

    from falcon_mnist.training import recipes

    results = recipes.measured()
    document = (ROOT / "docs" / "learning.md").read_text()
    shown = document.split("<!-- bench:learning -->\n")[1].split("\n<!-- /bench:learning -->")[0]
    assert shown.splitlines() == learning.table(results)
    for name, recipe in recipes.RECIPES.items():
        assert results[name]["hyperparams"] == recipe.hyperparams
        assert results[name]["hidden"] == list(recipe.hidden)


def test_a_configuration_has_a_name_or_is_described_by_it() -> None:
    from configurations import configuration

    assert configuration("batch 4096").batch_size == 4096
    described = configuration("784-300-100-10, batch 200")
    assert (described.hidden, described.batch_size) == ((300, 100), 200)
    assert configuration("784-96-10").batch_size == 64
    with pytest.raises(ValueError, match="no configuration 784-10"):
        configuration("784-10")
