"""`falcon-mnist` that gets a Ctrl-C, which is a signal to its group, when it does what its first argument names: one of
Python's audit events, alone or with the first of its arguments, or the end of a function.
"""

import os
import signal
import sys


def main() -> None:
    moment: str | None = sys.argv.pop(1)
    sys.modules.pop(moment.removeprefix("import "), None)  # so that it is imported again: it was before the fork

    def watch(event, arguments):  # type: ignore[no-untyped-def]
        nonlocal moment
        if moment in (event, f"{event} {arguments[0] if arguments else ''}"):
            moment = None
            os.killpg(os.getpid(), signal.SIGINT)

    def see(frame, event, argument):  # type: ignore[no-untyped-def]
        if event == "return":
            watch(f"end of {frame.f_code.co_qualname}", ())

    sys.addaudithook(watch)
    if moment and moment.startswith("end of"):
        sys.setprofile(see)
    from falcon_mnist.cli import entry

    entry.main()
