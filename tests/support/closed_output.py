"""Programs whose standard output or error was closed before they began (`>&-`, `2>&-`): Python has none then."""

import os
import sys


def command() -> None:
    """`falcon-mnist`."""
    sys.stdout = None  # type: ignore[assignment]
    from falcon_mnist.cli import entry

    entry.main()


def command_without_error() -> None:
    """`falcon-mnist`, with its standard output; fails where programs that it starts, as workers, had no error."""
    os.close(2)
    sys.stderr = None  # type: ignore[assignment]
    from falcon_mnist.cli import entry

    try:
        entry.main()
    finally:
        assert os.get_inheritable(2)


def serve() -> None:
    """A server of two processes, up to where it would start these."""
    sys.stdout = None  # type: ignore[assignment]
    from falcon_mnist.app import open_service
    from falcon_mnist.cli.serve import run
    from falcon_mnist.settings import Settings

    run(open_service(Settings.from_env()), "127.0.0.1", 0, run_processes=lambda *_: True)
