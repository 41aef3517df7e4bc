"""What runs long, by choice: `python -m tests.long NAME [ARGUMENTS]`; without a name, says which there are."""

import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def main() -> None:
    """Run a program of this folder as if it were the command."""
    if len(sys.argv) < 2 or sys.argv[1] not in PROGRAMS:
        sys.exit(f"usage: python -m tests.long NAME [ARGUMENTS], NAME being one of {', '.join(PROGRAMS)}")
    # The servers and clients of the tests, and those of the benchmarks.
    sys.path[:0] = [str(FOLDER.parent / "support"), str(FOLDER.parents[1] / "bench")]
    name = sys.argv.pop(1)
    sys.argv[0] = str(FOLDER / f"{name}.py")
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
