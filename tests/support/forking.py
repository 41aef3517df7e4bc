"""Programs in processes of their own that are forked from one which has imported what they need.

Importing the service takes most of a second of CPU time, and hundreds of tests start it, or a command. A program that
is started here has a session, an environment and files of its own, as one that a shell starts; its `main` is called
with its arguments. The process that forks the programs, the forker, has no other threads and has called nothing. There
is one for all processes of pytest: while it imports, for one of them, what few programs need, the others wait.

`forked_command` is an interpreter of its own that imports this for each command of a shell: it imports little.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import mimetypes
import os
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

# What programs import; but not what looks at the environment or at the terminal as it is imported.
IMPORTED = (
    *("falcon_mnist.app", "falcon_mnist.server.serve", "falcon_mnist.client", "pebble", "typer", "rich.progress"),
    *(f"falcon_mnist.cli.{name}" for name in ("main", "complaints", "serve", "train", "exchange", "lists", "sweep")),
    *(f"falcon_mnist.cli.{name}" for name in ("following", "leaderboard", "choosers", "prune", "reading", "digits")),
    # Which training, a command that is called, and what `--help` prints, import when they are needed.
    *("numpy.random", "typer._adapters", "typer._click.decorators", "pydantic.type_adapter"),
    *("PIL.ImageOps", "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "PIL.GifImagePlugin", "PIL.PpmImagePlugin"),
    *("rich.markdown", "rich.panel", "rich._emoji_codes", "encodings.idna", "multiprocessing.sharedctypes"),
    # What is executed by a worker, or side by side, is written beside its tests.
    *("pytest", "forked_workers"),
)
# Of what these import, only this module does look: each program imports it anew.
LOOKS = "falcon_mnist.cli.console"
IMPORTED_FOR = {
    "s3": ["s3fs"],
    "gs": ["gcsfs"],
    "postgresql": ["falcon_mnist.storage.postgresql"],
    # The second: at the end of each process that has Ray, also of those that have not called it.
    "ray": ["ray.util.scheduling_strategies", "ray.dag.compiled_dag_node", "falcon_mnist.runs.ray_driver"],
}
# The instruction set is chosen when the kernels are imported: another one takes an interpreter of its own.
CHOSEN_AT_IMPORT = "FALCON_MNIST_ISA"

COMMAND = "falcon_mnist.cli.entry:main"

_MOST_BYTES = 2**20
_MOST_DESCRIPTORS = 32
_NUMBER = struct.Struct("i")


class Request(NamedTuple):
    """What to start: MODULE:FUNCTION, its arguments, and its environment."""

    main: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    asked_by: int
    blocked: list[int]


class Child(NamedTuple):
    """A program, as the process that has forked it sees it."""

    pid: int
    report_to: int  # a pipe: its exit code is written to it
    asked_by: int


class Program:
    """A running program, with what `subprocess.Popen` offers of its life. `files` are its three standard streams.

    `passed` are more descriptors for it, which it finds in `forking.passed`.
    """

    def __init__(
        self,
        main: str,
        *arguments: object,
        env: Mapping[str, str],
        files: tuple[int | None, int, int],
        passed: Sequence[int] = (),
    ) -> None:
        self.returncode: int | None = None
        self.args = [main, *map(str, arguments)]
        self._reports, report_to = os.pipe()  # its process id, then its exit code
        blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        wanted = Request(main, self.args[1:], dict(env), os.getcwd(), os.getpid(), blocked)
        request = json.dumps(wanted._asdict()).encode()
        with open(os.devnull, "rb") as nothing:
            stdin, *others = files
            streams = [nothing.fileno() if stdin is None else stdin, *others]
            forker = _forker()
            socket.send_fds(forker, [request], [*streams, report_to, forker.fileno(), *passed])
        os.close(report_to)
        self.pid = self._read()

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._code(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended."""
        code = self._code(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # its end is about to be told
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _code(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._reports], [], [], timeout)[0]:
            self.returncode = self._read()
            os.close(self._reports)
        return self.returncode

    def ended(self) -> int:
        """A descriptor of the caller's that can be read once it has ended."""
        return os.dup(self._reports)

    def _read(self) -> int:
        report = os.read(self._reports, _NUMBER.size)
        assert report, "the process that starts programs has ended"
        (number,) = _NUMBER.unpack(report)
        return int(number)


def run(
    *arguments: object, env: Mapping[str, str], timeout: float, input: str = ""
) -> subprocess.CompletedProcess[str]:
    """What `falcon-mnist` prints with these arguments, and its exit code."""
    ended = run_raw(*arguments, env=env, timeout=timeout, input=input.encode())
    return subprocess.CompletedProcess(ended.args, ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def run_raw(
    *arguments: object, env: Mapping[str, str], timeout: float, input: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """As `run`, in bytes."""
    import tempfile

    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(input)
        stdin.seek(0)
        program = Program(COMMAND, *arguments, env=env, files=(stdin.fileno(), stdout.fileno(), stderr.fileno()))
        try:
            code = program.wait(timeout)
        finally:
            program.kill()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(program.args, code, stdout.read(), stderr.read())


passed: list[int] = []
_inherited: socket.socket | None = None


def start() -> None:
    """Start the forker, of this process and of those that are forked from it."""
    _forker()


def descriptor() -> int:
    """The connection to the forker, for a child process that inherits it and calls `join` with it."""
    return _forker().fileno()


def join(descriptor: int) -> None:
    """Start programs over this inherited connection from now on: by the forker of the process that passed it on."""
    global _inherited
    _inherited = socket.socket(fileno=descriptor)


@cache
def _forker() -> socket.socket:
    """The connection to the forker, which ends with the process that started it."""
    if _inherited is not None:
        return _inherited
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for side in (ours, its):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST_BYTES)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FALCON_MNIST_")}
    process = subprocess.Popen(
        [sys.executable, "-c", f"import forking; forking.serve({its.fileno()})"],
        env=variables | {"PYTHONPATH": os.path.dirname(__file__)},
        pass_fds=[its.fileno()],
        start_new_session=True,
    )
    its.close()
    started_by = os.getpid()

    def end() -> None:
        if os.getpid() != started_by:  # but forked from it: others use the forker still
            return
        process.terminate()  # programs that still run keep its socket open
        process.wait()
        ours.close()

    atexit.register(end)
    return ours


def serve(descriptor: int) -> None:
    """Fork programs as they are asked for, until nobody can ask; in a child, be the program."""
    atexit.register(_end_at_once)  # the first that is registered is the last that is called
    for name in IMPORTED:
        importlib.import_module(name)
    _warm_up()
    _share_tracker()
    # So that the garbage collector of a child neither visits nor writes to, and so copies, what it shares.
    gc.collect()
    gc.freeze()
    program = _fork_programs(socket.socket(fileno=descriptor))
    if program is not None:
        _run(program)


def _warm_up() -> None:
    """What each program would do at its first use of a library, where the library keeps the result."""
    from falcon_mnist.api import openapi, operations

    mimetypes.init()  # the system's table of media types, for Falcon
    openapi.document(operations.OPERATIONS)  # which every server makes for the first client that asks for it


def _share_tracker() -> None:
    """Start the process that multiprocessing starts for each program which uses semaphores: once, for all programs.

    What programs that are killed leave to it is no news: it says so to nobody.
    """
    from multiprocessing import resource_tracker

    shown = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    resource_tracker.ensure_running()
    os.dup2(shown, 2)
    os.close(shown)


_status: int | None = None


def _run(program: Callable[[], object]) -> None:
    global _status
    try:
        program()
        _status = 0
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            _status = ended.code or 0
        raise


def _end_at_once() -> None:
    """End a program whose exit code is known, without tearing down the interpreter: that would write to, and so copy,
    all memory that is shared, which takes longer than a small program.
    """
    if _status is not None:
        with suppress(OSError, ValueError):  # if it cannot be flushed, the interpreter ends as usual and says so
            for stream in filter(None, (sys.stdout, sys.stderr)):  # None, if it was closed
                stream.flush()
            os._exit(_status)


def _fork_programs(asked: socket.socket) -> Callable[[], object] | None:
    children: dict[int, Child] = {}  # by their descriptors
    with asked, selectors.DefaultSelector() as ready:
        ready.register(asked, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fd in children:
                    ready.unregister(key.fd)
                    os.close(key.fd)
                    _end(children.pop(key.fd), children)
                    continue
                message, descriptors, _, _ = socket.recv_fds(asked, _MOST_BYTES, _MOST_DESCRIPTORS)
                if not message:
                    return None
                request = Request(**json.loads(message))
                _import_for(request)
                # A signal that is sent as soon as its id is known waits until the child has the mask that it is given.
                usual = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                child = os.fork()
                if child == 0:
                    for watched, other in children.items():
                        os.close(watched)
                        os.close(other.report_to)
                    return _becoming(request, descriptors)
                signal.pthread_sigmask(signal.SIG_SETMASK, usual)
                report_to = descriptors.pop(3)
                for descriptor in descriptors:
                    os.close(descriptor)
                with suppress(BrokenPipeError):  # who asked is gone
                    os.write(report_to, _NUMBER.pack(child))
                watched = os.pidfd_open(child)
                children[watched] = Child(child, report_to, request.asked_by)
                ready.register(watched, selectors.EVENT_READ)


def _import_for(request: Request) -> None:
    """What is slow to import and few programs need is imported for the first of them, and then by no other."""
    settings = (f"FALCON_MNIST_{name}" for name in ("STORAGE_URL", "DATABASE_URL", "EXECUTOR"))
    kinds = [request.environment.get(name, "").partition("://")[0] for name in settings]
    for name in chain.from_iterable(IMPORTED_FOR.get(kind, ()) for kind in kinds):
        with suppress(ImportError):  # the program says so
            importlib.import_module(name)


def _end(child: Child, others: dict[int, Child]) -> None:
    """Report its exit code. Programs that it had started notice its end, but for stopped ones, which are killed."""
    code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    with suppress(BrokenPipeError):  # nobody wants to know
        os.write(child.report_to, _NUMBER.pack(code))
    os.close(child.report_to)
    for other in others.values():
        if other.asked_by == child.pid and _state(other.pid) == "T":
            os.kill(other.pid, signal.SIGKILL)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _becoming(request: Request, descriptors: list[int]) -> Callable[[], object]:
    """Give the child its session, streams, folder and environment; returns the program to call."""
    import tempfile

    os.setsid()
    Path("/proc/self/comm").write_text(_of(request.asked_by))
    signal.pthread_sigmask(signal.SIG_SETMASK, request.blocked)
    _inherit(descriptors)
    os.chdir(request.folder)
    tempfile.tempdir = None  # is chosen again, by the new environment
    chosen = os.environ.get(CHOSEN_AT_IMPORT)
    os.environ.clear()
    os.environ.update(request.environment)
    module, _, name = request.main.partition(":")
    if request.environment.get(CHOSEN_AT_IMPORT) != chosen:
        code = f"import sys; sys.argv[0] = 'falcon-mnist'; from {module} import {name}; {name}()"
        os.execv(sys.executable, [sys.executable, "-c", code, *request.arguments])
    sys.argv = ["falcon-mnist", *request.arguments]
    sys.stdin, sys.stdout, sys.stderr = _stream(0, "r"), _stream(1, "w"), _stream(2, "w", errors="backslashreplace")
    importlib.reload(sys.modules[LOOKS])
    program: Callable[[], object] = getattr(importlib.import_module(module), name)
    return program


def _inherit(descriptors: list[int]) -> None:
    """Three standard streams, the forker's pipe for the exit code, the connection to the forker, then `passed`."""
    *streams, report_to, connection = descriptors[:5]
    os.close(report_to)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    join(connection)
    passed.extend(descriptors[5:])


def _of(pid: int) -> str:
    """The name of the processes that were forked for this one."""
    return f"of-{pid}"


def forked_by(pid: int) -> list[int]:
    """The processes that were forked for this one and have not ended, in the order of their starts."""
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        forker = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        for child in Path(f"/proc/{forker}/task/{forker}/children").read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{child}/comm").read_text().strip() == _of(pid) and _state(int(child)) != "Z":
                    found.append(int(child))
    return found


def _stream(number: int, mode: str, **options: Any) -> Any:
    """As Python opens it: a terminal, and standard error, in lines."""
    lines = number == 2 or os.isatty(number)
    return open(number, mode, buffering=1 if lines else -1, closefd=False, **options)
