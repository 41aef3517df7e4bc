"""Where the command begins: Ctrl-C ends it in one line from the first moment, before anything large is imported."""

import os
import signal
import sys
from typing import NoReturn

# The status of a command that Ctrl-C has ended.
INTERRUPTED = 130

_LINE = "falcon-mnist: interrupted\n"
_SHOW_CURSOR = "\x1b[?25h"


def main() -> NoReturn:
    """Run the command line."""
    signal.signal(signal.SIGINT, _leave)
    if sys.stderr is None:  # it was closed before this process began: else its descriptor would be that of another file
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.set_inheritable(2, True)  # workers need it too, and what `open` has put there already, they would not get
        sys.stderr = os.fdopen(2, "w")
    from falcon_mnist.cli.main import main as run

    try:
        status = run()
    except SystemExit as ended:  # Typer's, for Ctrl-C too
        if ended.code != INTERRUPTED:
            raise
        sys.stderr.write(_LINE)
        status = INTERRUPTED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left takes no time
    sys.exit(status)


def _leave(number: int, frame: object) -> NoReturn:
    """End at once. Until a command has something to save, an exception would only be lost in some import."""
    os.write(2, ((_SHOW_CURSOR if os.isatty(2) else "") + _LINE).encode())
    os._exit(INTERRUPTED)
