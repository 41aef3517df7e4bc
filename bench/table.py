"""Write the tables of docs/performance.md, and the one of the README, from saved figures.

    pytest bench --benchmark-json kernels.json              # or file by file, as many as there is time for
    python bench/training.py --json training.json
    python bench/table.py kernels.json training.json        # prints the tables; --write puts them into the documents

Of what was measured more than once, the file that is named last counts.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from pathlib import Path
from typing import Any

import paired
import readme
from configurations import SHAPES
from readme import markdown

OURS = "falcon-mnist"
LIBRARIES = ("NumPy", "PyTorch", "JAX", "scikit-learn")


def duration(seconds: float) -> str:
    """Three digits and the unit."""
    unit, size = ("s", 1.0) if seconds >= 1 else ("ms", 1e-3) if seconds >= 1e-3 else ("µs", 1e-6)
    return f"{seconds / size:.3g} {unit}" if seconds < 999.5 * size else f"{seconds / size:.0f} {unit}"


def sources(commands: list[str], reports: list[dict[str, Any]]) -> list[str]:
    """The commands that give such figures, and the machines that gave these."""
    machines = sorted({each["machine"] for each in reports})
    return ["", f"{', '.join(f'`{each}`' for each in commands)}; {'; '.join(machines)}."]


# Kernels, from pytest-benchmark's files


class Group(dict[str, dict[str, Any]]):
    """What is compared: contender to its benchmark."""

    def ours(self) -> list[dict[str, Any]]:
        """These kernels' benchmarks, best instruction set first."""
        return [each for name, each in self.items() if name == f"{OURS}, {each['extra_info'].get('isa')}"]

    def pairs(self, library: str) -> dict[str, float] | None:
        """Those with a library, at its best number of threads or the one that is named."""
        found = [each["extra_info"]["paired"] for name, each in self.items() if name.startswith(library)]
        return min(found, key=lambda pairs: pairs["ratio"]) if found else None

    def seconds(self) -> float:
        """Of ours on the best instruction set: of its pairs, where there are some."""
        found = [each["extra_info"]["paired"]["ours"] for each in self.values() if "paired" in each["extra_info"]]
        return statistics.median(found or [self.ours()[0]["stats"]["median"]])


def groups(reports: list[dict[str, Any]]) -> dict[str, Group]:
    """The benchmarks of all files."""
    found: dict[str, Group] = {}
    for report in reports:
        for each in report["benchmarks"]:
            if contender := each["extra_info"].get("contender"):
                found.setdefault(each["group"], Group())[contender] = each
    return found


def gemm_table(found: dict[str, Group], limits: dict[str, dict[str, float]]) -> list[str]:
    """Shapes by contender, in GFLOP/s of one thread."""
    shapes = {name[5:]: group for name, group in found.items() if re.fullmatch(r"gemm \S+", name)}
    if not shapes:
        return []
    isas = list(limits)
    header = ["GFLOP/s, one thread", *isas, f"{isas[0]} of its FMA peak"]
    header += ["NumPy", "times as fast", "PyTorch", "times as fast", "AVX2: times OpenBLAS held to AVX2"]
    rows = []
    for shape, group in shapes.items():
        billions = group.ours()[0]["extra_info"]["flop"] / 1e9
        best, *others = [group.seconds(), *(each["stats"]["median"] for each in group.ours()[1:])]
        row = [shape, *(f"{billions / each:.1f}" for each in (best, *others))]
        row.append(f"{billions * 1e9 / best / limits[isas[0]]['flop']:.0%}")
        for library in ("NumPy, 1 thread", "PyTorch, 1 thread"):
            pairs = group.pairs(library)
            row += [f"{billions / pairs['theirs']:.1f}", f"{pairs['ratio']:.2f}"] if pairs else ["", ""]
        held = found.get(f"gemm {shape}, AVX2", Group()).pairs(OURS)
        rows.append([*row, f"{held['ratio']:.2f}" if held else ""])
    note = "m x k x n; T behind k or n: the operand before it is read as the transpose of what lies in memory."
    return [*markdown(header, rows), "", note, ""]


def other_table(found: dict[str, Group]) -> list[str]:
    """Everything else that has contenders: times, and how many times as long as ours the others take."""
    rows = []
    for name, group in found.items():
        if not name.startswith(("gemm ", "decode")) and group.ours():
            pairs = [group.pairs(library) for library in LIBRARIES]
            cells = [f"{duration(each['theirs'])}, {each['ratio']:.2f}" if each else "" for each in pairs]
            rows.append([name, duration(group.seconds()), *cells])
    header = ["median, times as long as ours", OURS, *LIBRARIES]
    return [*markdown(header, rows), ""] if rows else []


def sentences(found: dict[str, Group], facts: dict[str, Any]) -> list[str]:
    """What has no contenders of the usual kind, and what the machine can do at most."""
    lines = []
    name = f"{OURS}, Predictor"
    if predicted := {what: group[name]["stats"]["median"] for what, group in found.items() if name in group}:
        times = (f"{what.removeprefix('forward, ')} {duration(each)}" for what, each in predicted.items())
        lines.append(f"Forward passes through `Predictor`, as `/infer` makes them: {', '.join(times)}.")
    for what, group in found.items():
        if what.startswith("decode"):
            times = (f"{contender} {duration(each['stats']['median'])}" for contender, each in group.items())
            lines.append(f"D{what[1:]}: {', '.join(times)}.")
    peaks = (
        f"{isa} {each['flop'] / 1e9:.0f} GFLOP/s and {each['bandwidth'] / 1e9:.0f} GB/s"
        for isa, each in facts["limits"].items()
    )
    lines.append(f"FMA peak and first-level cache of one thread (`python bench/limits.py`): {', '.join(peaks)}.")
    versions = {contender.split(",")[0]: version for contender, version in facts["versions"].items() if version}
    lines.append(f"{', '.join(f'{library} {version}' for library, version in versions.items())}; {facts['blas']}.")
    if facts["left_out"]:
        lines.append(f"Not installed, so left out: {', '.join(facts['left_out'])}.")
    return [line for each in lines for line in (each, "")][:-1]


def kernels(reports: list[dict[str, Any]]) -> list[str]:
    """All about kernels."""
    found, facts = groups(reports), [each["machine_info"] for each in reports]
    files = {each["fullname"].split("::")[0] for report in reports for each in report["benchmarks"]}
    command = f"pytest {' '.join(sorted(files))} --benchmark-json FILE"
    limits = facts[-1]["limits"]
    return [
        *gemm_table(found, limits), *other_table(found), *sentences(found, facts[-1]), *sources([command], facts)
    ]  # fmt: skip


# Training, from the files of bench/training.py


def best(seconds: dict[str, list[float]], library: str) -> tuple[str, paired.Paired] | None:
    """A library at its best number of threads, against ours."""
    found = [
        (name.rpartition(", ")[2], paired.of(seconds["ours"], theirs))
        for name, theirs in seconds.items()
        if name.startswith(library)
    ]
    return min(found, key=lambda each: each[1].ratio) if found else None


def training(reports: list[dict[str, Any]]) -> list[str]:
    """The table of training through the API."""
    configurations = {name: found for report in reports for name, found in report["training"].items()}
    header = ["an epoch through the API", OURS, "PyTorch", "times as fast", "NumPy", "times as fast"]
    header += ["one thread, dense, at FMA peak", "outside the kernels", "peak memory"]
    rows, beside = [], []
    for name, found in configurations.items():
        row = [name, duration(statistics.median(found["seconds"]["ours"]))]
        for library in ("PyTorch", "NumPy"):
            other = best(found["seconds"], library)
            row += [f"{duration(other[1].theirs)}, {other[0]}", str(other[1])] if other else ["", ""]
        rows.append([*row, duration(found["dense_limit"]), f"{found['outside']:.0%}", f"{found['memory_mb']:.0f} MB"])
        for other_name, theirs in found["seconds"].items():
            if other_name in configurations or other_name == "784-128-10":
                beside.append(f"{name} {paired.of(theirs, found['seconds']['ours'])}")
    lines = markdown(header, rows)
    if beside:
        lines += ["", f"Times as long as 784-128-10 with relu and without momentum: {', '.join(beside)}."]
    return [*lines, *sources(sorted({report["command"] for report in reports}), reports)]


def summary(reports: list[dict[str, Any]]) -> list[str]:
    """The README's table: training through the API, without the details."""
    rows = []
    for name, found in {name: each for report in reports for name, each in report["training"].items()}.items():
        if name in SHAPES or "784-128-10" in found["seconds"]:  # or compared with that one: in docs/performance.md
            continue
        others = [best(found["seconds"], library) for library in ("PyTorch", "NumPy")]
        ours = duration(statistics.median(found["seconds"]["ours"]))
        rows.append([name, ours, *(str(other[1]) if other else "" for other in others)])
    header = ["an epoch", OURS, "times as fast as PyTorch", "times as fast as NumPy"]
    return [*markdown(header, rows), *sources(sorted({report["command"] for report in reports}), reports)]


def main(
    arguments: list[str] | None = None, *, front: Path = readme.README, performance: Path = readme.PERFORMANCE
) -> None:
    """Read the files, print the tables or write them into the two documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md and README.md")
    options = parser.parse_args(arguments)
    reports = [json.loads(file.read_text()) for file in options.file]
    for name, lines_of, key in (("training", training, "training"), ("kernels", kernels, "benchmarks")):
        if mine := [report for report in reports if key in report]:
            lines = lines_of(mine)
            print("\n".join(lines), end="\n\n")
            if options.write:
                readme.put_into(performance, name, lines)
                if name == "training":
                    readme.put_into(front, "summary", summary(mine))


if __name__ == "__main__":
    main()
