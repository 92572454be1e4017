"""Starts gunicorn in a fifth of the time: in a fork of a process that has imported what gunicorn and the proxy need.

Run as a program, this file is that process. From the moment of the fork on, everything is as the script ``gunicorn``
has it: the arguments, the environment, gunicorn.conf.py, the workers.
"""

from __future__ import annotations

import contextlib
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
from typing import Any


class Forked:
    """A process that :class:`_Forker` started, with what of ``subprocess.Popen`` the tests use."""

    def __init__(self, pid: int, output: int, ended: int) -> None:
        self.pid = pid
        self.stdout = os.fdopen(output, encoding="utf-8", errors="replace")
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
            raise subprocess.TimeoutExpired("gunicorn", timeout or 0)
        assert self._status is not None
        return self._status

    def _has_ended(self, timeout: float | None) -> bool:
        if self._status is None and select.select([self._ended], [], [], timeout)[0]:
            self._status = int(os.read(self._ended, 16))
            os.close(self._ended)
        return self._status is not None


class _Forker:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking, asked = socket.socketpair()
        with asked:
            # No test's environment, but what prometheus-client looks for when it is imported.
            environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": os.devnull}
            # -P: what lies beside this file is no module of the proxy's.
            command = [sys.executable, "-P", __file__, str(asked.fileno())]
            self._process = subprocess.Popen(
                command, env=environment, pass_fds=[asked.fileno()], start_new_session=True, stdin=subprocess.DEVNULL
            )

    def start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Forked:
        output, printed = os.pipe()
        ended, status = os.pipe()
        wanted = json.dumps([arguments, dict(environment), os.getcwd()]).encode()
        with self._lock:
            self._asking.sendall(len(wanted).to_bytes(4))
            socket.send_fds(self._asking, [wanted], [printed, status])
            pid = int.from_bytes(self._asking.recv(4, socket.MSG_WAITALL))
        os.close(printed)
        os.close(status)
        return Forked(pid, output, ended)


_first = threading.Lock()


@cache
def _forker() -> _Forker:
    return _Forker()


def gunicorn(arguments: Sequence[str], environment: Mapping[str, str]) -> Forked:
    """Start gunicorn in a session of its own, in this process' folder; its output is one stream."""
    with _first:  # not two at once
        forker = _forker()
    return forker.start(arguments, environment)


def _serve(asked: socket.socket) -> Sequence[str]:
    """Fork for whoever asks until nobody can any more. Only a fork returns, with its arguments."""
    # Before gevent takes their place.
    fork, poll, wait, close = os.fork, select.poll(), os.waitpid, os.close
    _import_all()
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
            wanted, (printed, status), _, _ = socket.recv_fds(asked, int.from_bytes(length), 2)
            if not (pid := fork()):
                os.dup2(printed, 1)
                os.dup2(printed, 2)
                asked.close()
                for mine in [printed, status, *running, *(theirs for _, theirs in running.values())]:
                    close(mine)
                return _become(*json.loads(wanted))
            close(printed)
            asked.sendall(pid.to_bytes(4))
            running[fd := os.pidfd_open(pid)] = (pid, status)
            poll.register(fd, select.POLLIN)


def _import_all() -> None:
    from gevent import monkey

    # As gunicorn.conf.py does, before anything else.
    monkey.patch_all()
    for module in ("gunicorn.app.wsgiapp", "proxy.app", "proxy.server.worker", "proxy.preview"):
        import_module(module)
    del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def _become(arguments: Sequence[str], environment: dict[str, str], folder: str) -> Sequence[str]:
    import gevent

    # gevent's own os.fork does this: or all forks would wait at the one epoll of the process they come from.
    gevent.reinit()
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    # Memory that a master shares with its workers, made when this is imported.
    reload(sys.modules["proxy.server.lifecycle"])
    return arguments


def _main() -> Any:
    sys.argv = list(_serve(socket.socket(fileno=int(sys.argv[1]))))
    from gunicorn.app.wsgiapp import run

    return run()


if __name__ == "__main__":
    sys.exit(_main())
