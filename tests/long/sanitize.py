"""The kernels built with a sanitizer of the compiler, and their tests on them.

    python -m tests.long sanitize address         # or undefined, or thread; needs gcc and its sanitizers
    python -m tests.long sanitize thread tests/kernels/test_shapes.py -k 64     # these tests instead

The build goes to a temporary folder, or to `--keep FOLDER`, where the next run finds it. Ends with status 1 if a
sanitizer has something to say. Only the kernels are built so: what Python and NumPy do is not looked at, but for what
the kernels share with them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLAGS = {
    "address": "-fsanitize=address",
    "undefined": "-fsanitize=undefined -fno-sanitize-recover=all",
    "thread": "-fsanitize=thread",
}
LIBRARIES = {"address": "libasan.so", "undefined": "libubsan.so", "thread": "libtsan.so"}
# Python keeps much until it ends; some tests ask for more memory than there is, or touch a guard page.
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:handle_segv=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "die_after_fork=0:halt_on_error=1:report_signal_unsafe=0:allocator_may_return_null=1",
}
# They reach every kernel, threads from several callers, and calls that are refused; more would take hours.
TESTS = [f"tests/kernels/test_{name}.py" for name in ("every_kernel", "parked_threads", "hostile_calls")]


def build(sanitizer: str, folder: Path) -> Path:
    """The package with kernels built for a sanitizer; gives the folder to import it from."""
    flags = f"{FLAGS[sanitizer]} -fno-omit-frame-pointer -g1"
    command = [sys.executable, "setup.py", "-q", "build", f"--build-base={folder}", f"--build-lib={folder / 'package'}"]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"CFLAGS": flags, "LDFLAGS": flags}, check=True)
    return folder / "package"


def run(sanitizer: str, package: Path, tests: list[str]) -> int:
    """The status of pytest with that package."""
    found = subprocess.run(
        ["gcc", f"-print-file-name={LIBRARIES[sanitizer]}"], capture_output=True, text=True, check=True
    )
    places = [str(package), str(ROOT / "tests" / "support")]
    environment = os.environ | OPTIONS | {"PYTHONPATH": os.pathsep.join(places), "PYTHONMALLOC": "malloc"}
    environment["LD_PRELOAD"] = found.stdout.strip()
    python = [sys.executable, "-P"]  # else the checkout itself comes first
    if sanitizer == "thread":  # it needs its own places in memory, which a random layout may have taken
        python = ["setarch", "--addr-no-randomize", *python]

    def start(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*python, *arguments], cwd=ROOT, env=environment, check=False)

    check = f"from falcon_mnist.kernels import _interface as k; assert k.__file__.startswith({str(package)!r}), k"
    tested = start("-c", check).returncode
    return (
        tested or start("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--capture=sys", *tests).returncode
    )


def main() -> None:
    """Build, then test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sanitizer", choices=FLAGS)
    parser.add_argument("--keep", type=lambda name: Path(name).resolve(), help="build here, and leave it")
    options, tests = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(run(options.sanitizer, build(options.sanitizer, options.keep or Path(folder)), tests or TESTS))


if __name__ == "__main__":
    main()
