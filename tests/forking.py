"""Starts gunicorn and flask in a fifth of the time: in forks of a process that has imported what they need.

Run as a program, this file is that process, one for each of the two. From the moment of the fork on, everything is as
the script ``gunicorn`` or ``flask`` has it: the arguments, the environment, gunicorn.conf.py, the workers.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module, reload
from tempfile import TemporaryFile
from typing import IO, Any, Literal

Program = Literal["gunicorn", "flask"]
_IMPORTED: dict[Program, tuple[str, ...]] = {
    "gunicorn": ("gunicorn.app.wsgiapp", "proxy.app", "proxy.server.worker", "proxy.preview"),
    "flask": ("flask.cli", "proxy.app", "proxy.cli", "proxy.preview", "redis"),
}


class Forked:
    """A process that :class:`_Forker` started, with what of ``subprocess.Popen`` the tests use."""

    def __init__(self, pid: int, ended: int, stdout: IO[str] | None = None) -> None:
        self.pid = pid
        self.stdout = stdout
        self._ended = ended
        self._status: int | None = None

    def send_signal(self, number: int) -> None:
        """Send a signal; a process that has ended takes none."""
        if not self._has_ended(0):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, once there is one."""
        if not self._has_ended(timeout):
            raise subprocess.TimeoutExpired("a fork", timeout or 0)
        assert self._status is not None
        return self._status

    def _has_ended(self, timeout: float | None) -> bool:
        if self._status is None and select.select([self._ended], [], [], timeout)[0]:
            self._status = int(os.read(self._ended, 16))
            os.close(self._ended)
        return self._status is not None


class _Forker:
    def __init__(self, program: Program) -> None:
        self._lock = threading.Lock()
        self._asking, asked = socket.socketpair()
        with asked:
            # No test's environment, but what prometheus-client looks for when it is imported.
            counts = {"PROMETHEUS_MULTIPROC_DIR": os.devnull} if program == "gunicorn" else {}
            environment = {**os.environ, **counts}
            # -P: what lies beside this file is no module of the proxy's.
            command = [sys.executable, "-P", __file__, program, str(asked.fileno())]
            self._process = subprocess.Popen(
                command, env=environment, pass_fds=[asked.fileno()], start_new_session=True, stdin=subprocess.DEVNULL
            )

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], standard: Sequence[int]
    ) -> tuple[int, int]:
        """Return its process id, and where its exit status is read; ``standard``: its input, output and errors."""
        ended, status = os.pipe()
        wanted = json.dumps([arguments, dict(environment), os.getcwd()]).encode()
        with self._lock:
            self._asking.sendall(len(wanted).to_bytes(4))
            socket.send_fds(self._asking, [wanted], [*standard, status])
            pid = int.from_bytes(self._asking.recv(4, socket.MSG_WAITALL))
        os.close(status)
        return pid, ended


_first = threading.Lock()


@cache
def _forker(program: Program) -> _Forker:
    return _Forker(program)


def _start(
    program: Program, arguments: Sequence[str], environment: Mapping[str, str], standard: Sequence[int]
) -> tuple[int, int]:
    with _first:  # not two at once
        forker = _forker(program)
    return forker.start(arguments, environment, standard)


def gunicorn(arguments: Sequence[str], environment: Mapping[str, str]) -> Forked:
    """Start gunicorn in a session of its own, in this process' folder; its output is one stream."""
    output, printed = os.pipe()
    with open(printed, "w") as out, open(os.devnull) as nothing:
        standard = [nothing.fileno(), out.fileno(), out.fileno()]
        process = _start("gunicorn", arguments, environment, standard)
    return Forked(*process, open(output, encoding="utf-8", errors="replace"))


def flask(arguments: Sequence[str], environment: Mapping[str, str], given: str) -> subprocess.CompletedProcess[str]:
    """Run flask to its end, ``given`` on its standard input."""
    with TemporaryFile("w+") as asked, TemporaryFile("w+") as out, TemporaryFile("w+") as errors:
        asked.write(given)
        asked.seek(0)
        standard = [file.fileno() for file in (asked, out, errors)]
        process = Forked(*_start("flask", arguments, environment, standard))
        try:
            status = process.wait(60)
        finally:
            process.kill()
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(arguments, status, out.read(), errors.read())


def flask_in(terminal: int, arguments: Sequence[str], environment: Mapping[str, str]) -> Forked:
    """Start flask in a terminal."""
    return Forked(*_start("flask", arguments, environment, [terminal] * 3))


def _serve(program: Program, asked: socket.socket) -> Sequence[str]:
    """Fork for whoever asks until nobody can any more. Only a fork returns, with its arguments."""
    # Before gevent takes their place.
    fork, poll, wait, close = os.fork, select.poll(), os.waitpid, os.close
    _import_all(program)
    poll.register(asked, select.POLLIN)
    running: dict[int, tuple[int, int]] = {}
    while True:
        for ready, _ in poll.poll():
            if ready in running:
                pid, status = running.pop(ready)
                # Nobody may wait for it any more.
                with contextlib.suppress(BrokenPipeError):
                    os.write(status, str(os.waitstatus_to_exitcode(wait(pid, 0)[1])).encode())
                poll.unregister(ready)
                close(ready)
                close(status)
                continue
            if not (length := asked.recv(4, socket.MSG_WAITALL)):
                sys.exit()
            wanted, (*standard, status), _, _ = socket.recv_fds(asked, int.from_bytes(length), 4)
            if not (pid := fork()):
                for number, one in enumerate(standard):
                    os.dup2(one, number)
                asked.close()
                for mine in [*standard, status, *running, *(theirs for _, theirs in running.values())]:
                    close(mine)
                return _become(program, *json.loads(wanted))
            for one in standard:
                close(one)
            asked.sendall(pid.to_bytes(4))
            running[fd := os.pidfd_open(pid)] = (pid, status)
            poll.register(fd, select.POLLIN)


def _import_all(program: Program) -> None:
    if program == "gunicorn":
        from gevent import monkey

        # As gunicorn.conf.py does, before anything else.
        monkey.patch_all()
    for module in _IMPORTED[program]:
        import_module(module)
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    # Or the first collection in each fork would copy every page of it.
    gc.collect()
    gc.freeze()


def _become(program: Program, arguments: Sequence[str], environment: dict[str, str], folder: str) -> Sequence[str]:
    if program == "gunicorn":
        import gevent

        # gevent's own os.fork does this: or all forks would wait at the one epoll of the process they come from.
        gevent.reinit()
    if environment.pop("TESTS_PICTURES", None) is None:
        # On a busy machine a test may last until then, and has not counted the calls that this costs.
        vars(sys.modules["proxy.trustpilot.brand_assets"])["QUIET_SECONDS"] = float("inf")
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    # Memory that a master shares with its workers, made when this is imported.
    reload(sys.modules["proxy.server"])
    return arguments


def _main(program: Program, asked: str) -> Any:
    sys.argv = list(_serve(program, socket.socket(fileno=int(asked))))
    if program == "gunicorn":
        from gunicorn.app.wsgiapp import run

        return run()
    from flask.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))  # type: ignore[arg-type]  # what _Forker gives
