"""`falcon-mnist` where the package that its first argument names is not installed."""

import sys


def main() -> None:
    sys.modules[sys.argv.pop(1)] = None  # type: ignore[assignment]
    sys.modules.pop("falcon_mnist.storage.postgresql", None)  # imported already where another has needed it
    from falcon_mnist.cli import entry

    entry.main()
