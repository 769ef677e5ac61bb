"""Runs the project's own programs as processes without a start of the interpreter.

A server process imports the programs once and forks for each run. The fork has its own working
directory, environment, arguments, signals and standard streams. It ends with an exit code, as a new
process does. A start of Python with all imports costs 0.3 s of CPU, a fork 0.01 s. Tests of the
start (imports, ``python -m``, encodings) start Python.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MARKER = "_DOLTLITE_BOOTSTRAPPED"
ALIKE = {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONHASHSEED"}
"""Variables of the interpreter that have no effect here."""
LAZY = (
    "durationpy",
    "encodings.idna",
    "encodings.utf_8_sig",
    "httpcore",
    "httpx",
    "sqlglot.dialects.mysql",
    "sqlglot.dialects.sqlite",
)
"""Modules that the programs import late.

The server imports them first, so that forks don't import them again. httpx alone takes 45 ms.
"""
PROCESSES = "DOLT_WATCH_TEST_PROCESSES"
"""Name of a variable in pytest's environment with which every run starts Python."""


def forks(env: Mapping[str, str]) -> bool:
    """Return whether a fork behaves like a start of Python in this environment."""
    if sys.platform != "linux" or os.environ.get(PROCESSES):
        return False
    locale = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or "C"
    plain = locale in ("C", "POSIX") or locale.lower().replace("-", "").endswith("utf8")
    return plain and not any(name.startswith(("PYTHON", "LD_")) for name in env.keys() - ALIKE)


def dolt_watch(
    arguments: Sequence[str],
    *,
    cwd: str | os.PathLike[str],
    env: Mapping[str, str],
    timeout: float = 120,
    **how: Any,
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m dolt_watch``, and capture its output by default.

    Raises the same errors as ``subprocess.run``.

    Args:
        how: stdin, stdout, stderr and check, as in ``subprocess.run``.
    """
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    if not forks(env):
        command = [sys.executable, "-m", "dolt_watch", *arguments]
        return subprocess.run(
            command,
            cwd=cwd,
            env=dict(env),
            timeout=timeout,
            text=True,
            **{"check": False, **streams},
        )
    return run("dolt_watch", arguments, cwd=cwd, env=env, timeout=timeout, **streams)


def run(
    program: str,
    arguments: Sequence[str],
    *,
    cwd: str | os.PathLike[str],
    env: Mapping[str, str],
    timeout: float = 120,
    stdin: int = subprocess.DEVNULL,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run ``program`` in a fork.

    Raises subprocess.TimeoutExpired, and CalledProcessError with ``check``.
    """
    started = _Started(
        program,
        [str(each) for each in arguments],
        os.fspath(cwd),
        dict(env),
        (stdin, stdout, stderr),
    )
    done = started.wait(timeout)
    if check:
        done.check_returncode()
    return done


def program(folder: Path, name: str, env: Mapping[str, str] | None = None) -> Path:
    """Write a program for shells, 'dolt_watch' or 'bd', each run of which is a fork.

    Args:
        env: Variables that the program sets.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    values = (sys.executable, name, str(_server().path), dict(env or {}))
    path.write_text(_CLIENT.format(*map(repr, values), python=sys.executable), "utf-8")
    path.chmod(0o755)
    return path


_CLIENT = """#!{python} -IS
import os, sys
python, name, path, more = {}, {}, {}, {}
os.environ.update(more)
if any(each.startswith(("PYTHON", "LD_")) for each in os.environ) and name == "dolt_watch":
    os.execv(python, [python, "-m", name, *sys.argv[1:]])
import json, signal, socket, struct
server = socket.socket(socket.AF_UNIX)
server.connect(path)
request = dict(program=name, arguments=sys.argv[1:], cwd=os.getcwd(), env=dict(os.environ))
body = json.dumps(request).encode()
socket.send_fds(server, [struct.pack("!q", len(body))], [0, 1, 2])
server.sendall(body)
def number():
    data = b""
    while len(data) < 8:
        more = server.recv(8 - len(data))
        if not more:
            sys.exit("the fork server of the tests ended")
        data += more
    return struct.unpack("!q", data)[0]
child = number()
for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(each, lambda got, _: os.kill(child, got))
code = number()
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""
"""Source of the program. It forwards streams and signals, and its death kills the fork."""


class _Started:
    """A fork, and the threads that read its streams."""

    def __init__(
        self, program: str, arguments: list[str], cwd: str, env: dict[str, str], streams: Any
    ) -> None:
        self.arguments = [program, *arguments]
        self._texts: dict[str, str] = {}
        self._readers: list[threading.Thread] = []
        theirs: list[int] = []

        def pipe(name: str, wanted: Any, flags: int) -> int:
            if wanted is subprocess.PIPE:
                read, write = os.pipe()
                theirs.append(write)
                self._readers.append(
                    threading.Thread(target=self._read, args=(name, read), daemon=True)
                )
                return write
            if wanted == subprocess.DEVNULL:
                theirs.append(os.open(os.devnull, flags))
                return theirs[-1]
            return int(wanted if isinstance(wanted, int) else wanted.fileno())

        ours, status = socket.socketpair()
        try:
            given = pipe("", streams[0], os.O_RDONLY)
            out = pipe("stdout", streams[1], os.O_WRONLY)
            err = (
                out if streams[2] is subprocess.STDOUT else pipe("stderr", streams[2], os.O_WRONLY)
            )
            request = {"program": program, "arguments": arguments, "cwd": cwd, "env": env}
            _server().send(request, [given, out, err, status.fileno()])
        finally:
            for number in theirs:
                os.close(number)
            status.close()
        self._status = ours
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, number: int) -> None:
        with open(number, encoding="utf-8", errors="surrogateescape") as stream:
            self._texts[name] = stream.read()

    def wait(self, timeout: float) -> subprocess.CompletedProcess[str]:
        end = time.monotonic() + timeout
        with self._status:
            pid = self._number(timeout)
            try:
                code = self._number(timeout)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(self.arguments, timeout) from None
        for reader in self._readers:
            reader.join(max(1.0, end - time.monotonic()))
        return subprocess.CompletedProcess(
            self.arguments, code, self._texts.get("stdout"), self._texts.get("stderr")
        )

    def _number(self, timeout: float) -> int:
        self._status.settimeout(timeout)
        data = b""
        while len(data) < 8:
            more = self._status.recv(8 - len(data))
            if not more:
                raise RuntimeError("the fork server of the tests ended")
            data += more
        return int(struct.unpack("!q", data)[0])


class _Server:
    """The client's side of one fork server."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        env = {name: value for name, value in os.environ.items() if name != MARKER}
        # The path of a socket must be short.
        self._folder = tempfile.TemporaryDirectory(prefix="dolt_watch-")
        self.path = Path(self._folder.name) / "forks"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(16)
        code = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.support.forked import"
            f" serve; serve({theirs.fileno()}, {listener.fileno()})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno(), listener.fileno()],
            env=env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        listener.close()

    def send(self, request: dict[str, Any], numbers: list[int]) -> None:
        body = json.dumps(request).encode()
        with self._lock:
            socket.send_fds(self._socket, [struct.pack("!q", len(body))], numbers)
            self._socket.sendall(body)

    def close(self) -> None:
        if self.owner == os.getpid():
            self._socket.close()
            self._process.wait()
            self._folder.cleanup()


_servers: list[_Server] = []
_starting = threading.Lock()


def _server() -> _Server:
    with _starting:
        # A fork of pytest doesn't use its parent's server.
        if not _servers or _servers[-1].owner != os.getpid():
            _servers.append(_Server())
            atexit.register(_servers[-1].close)
        return _servers[-1]


# -- the fork server --------------------


def serve(number: int, listening: int) -> None:
    """Fork for each request of the client and of each ``program``, until the client is gone."""
    import gc
    import selectors

    preload()
    requests = socket.socket(fileno=number)
    listener = socket.socket(fileno=listening)
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    woken.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Ctrl-C is for pytest, which then closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    running: dict[int, socket.socket] = {}
    selector = selectors.DefaultSelector()
    selector.register(requests, selectors.EVENT_READ)
    selector.register(listener, selectors.EVENT_READ)
    shells: dict[socket.socket, int] = {}
    selector.register(woken, selectors.EVENT_READ)
    gc.collect()
    gc.freeze()
    while True:
        ready = {key.fileobj for key, _ in selector.select()}
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
            for status in _reap(running):
                if shells.pop(status, None) is not None:
                    selector.unregister(status)
                status.close()
        for status in list(shells):
            # The program was killed.
            if status in ready:
                selector.unregister(status)
                os.kill(shells.pop(status), signal.SIGKILL)
        if listener in ready:
            status = listener.accept()[0]
            found = _request(status)
            if found is None:
                status.close()
            else:
                shells[status] = _fork(*found, status, running)
                selector.register(status, selectors.EVENT_READ)
        if requests in ready:
            found = _request(requests)
            if found is None:
                os._exit(0)
            _fork(*found, socket.socket(fileno=found[1].pop()), running)


def preload() -> None:
    """Import all modules of the programs, including those that they import at first use."""
    from importlib import import_module
    from pkgutil import walk_packages

    import dolt_watch
    from dolt_watch.engines.doltlite.loader import load_sqlite3
    from dolt_watch.errors import DatabaseError

    # The commands report this error themselves.
    with contextlib.suppress(DatabaseError):
        load_sqlite3()
    from dolt_watch import cli

    for name in cli.COMMANDS:
        import_module(f"dolt_watch.cli.{name}")
    for name in ("commands", "main", "schema", "upgrade"):
        import_module(f"tests.standin.{name}")
    for module in walk_packages(dolt_watch.__path__, "dolt_watch."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    for name in LAZY:
        import_module(name)
    _use_once()


def _use_once() -> None:
    """Use sqlglot and rich once, because their first use is slow."""
    from rich.cells import cell_len

    from dolt_watch.core.model import Rule
    from dolt_watch.core.rules.compiled_rule import compile_for

    names = ("id", "status", "assignee", "acceptance_criteria", "priority", "updated_at")
    for dialect in ("mysql", "sqlite"):
        compile_for(Rule("any"), dict.fromkeys(names, "text"), dialect)
    cell_len("…")


Request = tuple[dict[str, Any], list[int]]
"""A request to run a program, and its file descriptors."""


def _request(stream: socket.socket) -> Request | None:
    """Return the next request, or None at the end of the stream."""
    head, numbers, _, _ = socket.recv_fds(stream, 8, 4)
    if not head:
        return None
    return json.loads(_exactly(stream, struct.unpack("!q", head)[0])), numbers


def _fork(
    request: dict[str, Any],
    numbers: list[int],
    status: socket.socket,
    running: dict[int, socket.socket],
) -> int:
    """Return the number of the fork that runs the request, and pass it to ``status``."""
    pid = os.fork()
    if pid == 0:
        _child(request, numbers)
    for each in numbers:
        os.close(each)
    running[pid] = status
    _tell(status, pid)
    return pid


def _exactly(stream: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        data += stream.recv(length - len(data))
    return bytes(data)


def _tell(status: socket.socket, number: int) -> None:
    # The client may have stopped waiting.
    with contextlib.suppress(OSError):
        status.sendall(struct.pack("!q", number))


def _reap(running: dict[int, socket.socket]) -> Iterator[socket.socket]:
    """Report the end of each fork that has ended."""
    while running:
        pid, code = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _tell(running[pid], os.waitstatus_to_exitcode(code))
        yield running.pop(pid)


def _child(request: dict[str, Any], numbers: list[int]) -> None:
    """Run the program in this process. Never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for target, number in enumerate(numbers):
            os.dup2(number, target)
        os.closerange(3, 256)
        os.environ.clear()
        os.environ.update(request["env"])
        time.tzset()
        os.chdir(request["cwd"])
        _streams(request["env"])
        sys.path[0] = str(Path.cwd())
        sys.argv = [request["program"], *request["arguments"]]
        code = _called(request["program"])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code & 0xFF)


def _streams(env: Mapping[str, str]) -> None:
    """Open the standard streams as Python does."""
    named = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or "C"
    errors = "surrogateescape" if named in ("C", "POSIX") else "strict"
    sys.stdin = open(0, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
    by_line = os.isatty(1) or bool(env.get("PYTHONUNBUFFERED"))
    sys.stdout = open(  # noqa: SIM115
        1, "w", encoding="utf-8", errors=errors, closefd=False, buffering=1 if by_line else -1
    )
    sys.stderr = open(  # noqa: SIM115
        2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1
    )


def _called(program: str) -> int:
    """Return the exit code of the program's ``main`` as the interpreter would."""
    try:
        if program == "bd":
            from tests.standin.main import main as bd

            return bd(sys.argv[1:])
        from dolt_watch.cli import main

        main()
    except SystemExit as error:
        if error.code is None:
            return 0
        if isinstance(error.code, int):
            return error.code
        sys.stderr.write(f"{error.code}\n")
        return 1
    return 0
