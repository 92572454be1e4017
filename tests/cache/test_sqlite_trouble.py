"""What goes wrong with a file, done to a real one: it is survived, and said in one clear line."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import requests

from proxy.cache.backend import BackendDown, Window
from proxy.cache.sqlite import SqliteBackend
from proxy.cache.sqlite_file import FileRefused, MachineClock, close_file, open_file, prepare
from proxy.cache.sqlite_upkeep import drop_expired, shrink
from proxy.clock import spawn
from proxy.events import FileFailed
from tests.api.inviting import invite, order
from tests.exposition import value
from tests.running import SECRET, RunningProxy, RunningSandbox

LONG = 3600.0
HOUR = Window("hour", 10_000, 3600)
LOST = "cached reviews, the count of calls, the record of sent invitations"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "proxy.sqlite3"


@pytest.fixture
def open_one(path: Path) -> Iterator[Callable[..., SqliteBackend]]:
    opened: list[SqliteBackend] = []

    def open_one(**how: object) -> SqliteBackend:
        opened.append(SqliteBackend(path, **{"spawn": spawn, "max_bytes": 10**8, "patience": 0.05, **how}))  # type: ignore[arg-type]  # the caller's
        return opened[-1]

    yield open_one
    for backend in opened:
        backend.close()


Open = Callable[..., SqliteBackend]


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said of the file, and not by what earlier tests have left running."""
    ours = [record for record in caplog.records if record.name.startswith("proxy.cache.sqlite")]
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


def _until_it_works(backend: SqliteBackend) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            backend.set("again", b"yes", LONG)
            assert backend.get("again") == b"yes"
        except BackendDown:
            assert time.monotonic() < until
            time.sleep(0.02)
        else:
            return


def _damage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(path.stat().st_size))


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def test_a_damaged_file_is_set_aside_at_the_start_with_what_is_lost_in_the_log(
    path: Path, open_one: Open, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(b"not a database " * 500)
    prepare(path)
    assert open_one().add("key", b"value", LONG) is None
    [aside] = path.parent.glob("proxy.sqlite3.damaged-????????T??????")
    assert aside.read_bytes() == b"not a database " * 500
    [line] = _said(caplog)
    assert line.startswith(f"the cache file {path} is damaged: set aside as {aside.name}, an empty one is begun; ")
    assert line.endswith(LOST)


def test_of_all_who_start_on_a_damaged_file_one_sets_it_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = MachineClock.of_this_machine()
    for number in range(1, 21):
        path.write_bytes(b"not a database " * 500)
        with ThreadPoolExecutor(8) as starting:
            files = list(starting.map(lambda _: open_file(path, clock), range(8)))
        assert {file.inode for file in files} == {path.stat().st_ino}
        assert len(_said(caplog)) == number
        for file in files:
            close_file(file)


def test_a_file_of_a_newer_version_is_set_aside(path: Path, open_one: Open, caplog: pytest.LogCaptureFixture) -> None:
    open_one().set("key", b"value", LONG)
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    prepare(path)
    assert open_one().get("key") is None
    [line] = _said(caplog)
    assert "is from a newer version of the proxy: set aside as proxy.sqlite3.newer-" in line
    assert line.endswith(LOST)


@pytest.mark.parametrize("harm", [_damage, _empty])
def test_a_file_damaged_under_the_running_proxy_is_set_aside_by_one_of_all(
    path: Path, open_one: Open, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None]
) -> None:
    failures: list[object] = []
    backends = [open_one(report=failures.append) for _ in range(2)]
    for number in range(300):
        backends[0].write(f"unit/{number}", "page", bytes(4000), 0, ttl=LONG)
    for backend in backends:
        backend.read("unit/1")
    with sqlite3.connect(path) as checkpointing:
        checkpointing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    checkpointing.close()
    harm(path)
    for backend in backends:
        _until_it_works(backend)
        assert backend.read("unit/150") == ({}, 0)
    assert [line for line in _said(caplog) if line.endswith(LOST)] == [
        line for line in _said(caplog) if "set aside" in line
    ]
    assert len([line for line in _said(caplog) if "set aside" in line]) == 1
    assert set(failures) == {FileFailed("damaged")}


def test_another_programs_database_is_left_alone_and_the_start_refused(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(FileRefused, match="another program's database"):
        prepare(path)
    assert path.read_bytes() == before


def test_a_place_that_can_not_be_written_to_is_refused_at_the_start() -> None:
    with pytest.raises(FileRefused, match="can't be made"):
        prepare(Path("/proc/proxy.sqlite3"))


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs"])
def test_a_network_file_system_is_refused_at_the_start(path: Path, kind: str) -> None:
    with pytest.raises(FileRefused, match=rf"is on a network file system \({kind}\), where SQLite's locks"):
        prepare(path, _mounted(path, kind))
    assert not path.exists()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "fuse.fuse-overlayfs"])
def test_a_file_system_of_this_machine_is_taken(path: Path, kind: str) -> None:
    prepare(path, _mounted(path, kind))
    assert path.exists()


def test_where_no_file_system_can_be_told_it_is_taken(path: Path, tmp_path: Path) -> None:
    prepare(path, tmp_path / "none")
    assert path.exists()


def _mounted(path: Path, kind: str) -> Path:
    """Return what the kernel would list, were the folder of ``path`` on a file system of this kind."""
    number = os.stat(path.parent).st_dev
    lines = [
        "21 1 0:9999 / / rw,relatime shared:1 - ext4 /dev/root rw",
        f"36 21 {os.major(number)}:{os.minor(number)} / /here rw,noatime shared:7 master:3 - {kind} host:/export rw",
        "40 21 0:9998 / /elsewhere rw - nfs4 host:/other rw",
    ]
    mounts = path.with_name("mountinfo")
    mounts.write_text("\n".join(lines) + "\n")
    return mounts


@pytest.mark.parametrize("with_folder", [False, True])
def test_a_file_removed_under_the_running_proxy_is_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, with_folder: bool
) -> None:
    path = tmp_path / "folder" / "proxy.sqlite3"
    one, other = (SqliteBackend(path, spawn, max_bytes=10**8) for _ in range(2))
    one.set("key", b"value", LONG)
    cursor = other.changes(0).cursor
    if with_folder:
        shutil.rmtree(path.parent)
    else:
        for file in path.parent.iterdir():
            file.unlink()
    _until_it_works(one)
    time.sleep(0.15)  # how long a removed file may go on being read
    assert other.get("key") is None
    assert other.get("again") == b"yes"
    # What others hold in memory they have to look up again.
    assert not other.changes(cursor).complete
    [line] = _said(caplog)
    assert (
        line
        == f"the cache file {path} was removed: an empty one is begun; what was in it is lost to the proxy: {LOST}"
    )
    for backend in (one, other):
        backend.close()


def test_a_long_lock_of_another_process_costs_writes_only_and_ends_by_itself(
    path: Path, open_one: Open, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[object] = []
    backend = open_one(report=failures.append)
    backend.set("key", b"value", LONG)
    another = sqlite3.connect(path, isolation_level=None)
    another.execute("BEGIN IMMEDIATE")
    for _ in range(3):
        with pytest.raises(BackendDown):
            backend.set("key", b"other", LONG)
        assert backend.get("key") == b"value"
    another.execute("COMMIT")
    another.close()
    _until_it_works(backend)
    assert _said(caplog) == [
        f"the cache file {path} can't be used, going on without it: another process locks it",
        f"the cache file {path} can be used again",
    ]
    # Once: then it is left alone for a moment.
    assert failures == [FileFailed("locked")]


WRITING = """
import sys, uuid
from pathlib import Path
from proxy.clock import spawn
from proxy.cache.backend import Window
from proxy.cache.sqlite import SqliteBackend
backend = SqliteBackend(Path(sys.argv[1]), spawn, max_bytes=10**8)
while True:
    name = uuid.uuid4().hex
    backend.write("unit/" + name, "page", name.encode() * 200, 0, ttl=3600)
    backend.add("invitation:" + name, b"claim", 3600)
    backend.count((Window("hour", 10_000, 3600),))
    print(name, flush=True)
"""


def test_a_process_killed_in_the_middle_of_its_writes_loses_nothing_that_was_said_to_be_written(
    path: Path, open_one: Open
) -> None:
    done: list[str] = []
    beside = open_one()
    cursor = beside.changes(0).cursor
    for number in range(3):
        writing = subprocess.Popen([sys.executable, "-c", WRITING, path], stdout=subprocess.PIPE, text=True)
        assert writing.stdout is not None
        for _ in range(30 + 17 * number):
            done.append(writing.stdout.readline().strip())
            cursor = beside.changes(cursor).cursor
        writing.kill()
        done += writing.stdout.read().split()
        writing.wait()
        # Who was open all the time has heard of what was committed last, too.
        cursor = beside.changes(cursor).cursor
        assert cursor == open_one().changes(0).cursor
    backend = open_one()
    for name in done:
        assert backend.read(f"unit/{name}").parts == {"page": name.encode() * 200}
        assert backend.add(f"invitation:{name}", b"again", LONG) == b"claim"
    [use] = backend.count((HOUR,), 0).uses
    assert len(done) <= use.used <= len(done) + 3
    with sqlite3.connect(path) as looking:
        assert looking.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    looking.close()


def test_a_write_in_progress_when_the_proxy_stops_is_made_whole(open_one: Open) -> None:
    stopping: list[threading.Thread] = []

    def uptime() -> float:
        # Asked in the middle of a write, within its transaction.
        while stopping:
            thread = stopping.pop()
            thread.start()
            thread.join(0.2)
        return time.monotonic()

    backend = open_one(clock=MachineClock(time.time, uptime, "this boot"))
    assert backend.is_reachable()
    stopping.append(threading.Thread(target=backend.close))
    assert backend.write("unit/A", "page", b"kept", 0, ttl=LONG)
    assert open_one().read("unit/A").parts == {"page": b"kept"}


def test_a_clock_that_is_set_makes_nothing_older_or_younger(open_one: Open) -> None:
    wall = [1_000_000.0]
    clock = MachineClock(lambda: wall[0], time.monotonic, "this boot")
    backend = open_one(clock=clock)
    backend.set("key", b"value", LONG)
    backend.count((HOUR,))
    generation = backend.replace("unit/A", {"page": b"kept"}, None, ttl=LONG)
    assert generation is not None
    for jump in (10 * 86_400.0, -20 * 86_400.0):
        wall[0] += jump
        # Also for a process that comes later.
        for each in (backend, open_one(clock=clock)):
            assert each.get("key") == b"value"
            assert each.read("unit/A").parts == {"page": b"kept"}
            assert each.count((HOUR,), 0).uses[0].used == 1
        later = backend.replace("unit/A", {"page": b"kept"}, generation, ttl=LONG)
        assert later is not None
        assert later > generation
        generation = later


@pytest.mark.parametrize("is_late", [False, True])
def test_the_file_stays_within_its_bound_and_the_least_recently_used_leave_first(
    path: Path, open_one: Open, *, is_late: bool
) -> None:
    most = 4_000_000
    clock = [1e6]
    late: list[Callable[[], None]] = []
    machine = MachineClock(lambda: clock[0], lambda: clock[0], "this boot")

    def spawn_late(job: Callable[[], None]) -> None:
        (late.append if is_late and job == backend._evict else spawn)(job)

    backend = open_one(max_bytes=most, clock=machine, spawn=spawn_late)
    for number in range(1000):
        clock[0] += 1
        backend.write(f"unit/{number:04}", "page", bytes(8000), 0, ttl=86_400)
    for job in late:
        job()
    until = time.monotonic() + 20
    while path.stat().st_size > most:
        assert time.monotonic() < until
        time.sleep(0.05)
    left = sorted({product for product, _, _ in backend.scan("unit/")})
    assert 200 < len(left) < 500
    assert left == [f"unit/{number:04}" for number in range(1000 - len(left), 1000)]


def test_what_has_expired_leaves_and_the_file_shrinks(path: Path, open_one: Open) -> None:
    backend = open_one()
    for number in range(600):
        backend.write(f"unit/{number}", "page", bytes(30_000), 0, ttl=0.001)
    backend.set("key", b"kept", LONG)
    backend.close()
    full = path.stat().st_size
    opened = open_file(path, MachineClock.of_this_machine())
    while drop_expired(opened) or shrink(opened, max_bytes=10**8):
        pass
    close_file(opened)
    assert full > 8_000_000
    assert path.stat().st_size < full / 2
    assert open_one().get("key") == b"kept"


@contextlib.contextmanager
def _filled(disk: Path, _worker: int) -> Iterator[None]:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as writing, contextlib.suppress(OSError):
        while True:
            writing.write(bytes(65_536))
    yield
    filler.unlink()


@contextlib.contextmanager
def _no_file_grows(_disk: Path, worker: int) -> Iterator[None]:
    """Do what a full disk does, to one process alone."""
    before = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (1, before[1]))
    yield
    resource.prlimit(worker, resource.RLIMIT_FSIZE, before)


Filling = Callable[[Path, int], AbstractContextManager[None]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Filling]]:
    """Yield a disk and what fills it: a real one of 2 MB where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield disk, _no_file_grows
        return
    yield disk, _filled
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_served_from_memory_sends_nothing_twice_and_ends_by_itself(
    sandbox: RunningSandbox, small_disk: tuple[Path, Filling]
) -> None:
    disk, full = small_disk
    with RunningProxy(sandbox, CACHE_URL=f"sqlite:///{disk}/proxy.sqlite3", WEB_CONCURRENCY="1") as proxy:
        assert proxy.get("/v1/reviews", sku="LAMP-01").headers["X-Cache"] == "miss"
        [worker] = proxy.workers()
        with full(disk, worker):
            states = [proxy.get("/v1/reviews", sku="MUG-01").headers["X-Cache"] for _ in range(3)]
            assert states == ["miss", "hit", "hit"]
            assert proxy.get("/v1/reviews", sku="LAMP-01").headers["X-Cache"] == "hit"
            body = order()
            answer = invite(proxy, body)
            assert (answer.status_code, sandbox.invitations()) == (503, [])
            assert "the invitation was not sent" in answer.json()["detail"]
            purge = requests.post(f"{proxy.url}/v1/cache/purge?sku=LAMP-01", headers={"X-Api-Key": SECRET}, timeout=5)
            assert purge.status_code == 503
            assert value(proxy, "ccproxy_sqlite_errors_total", kind="full") > 0
        assert [invite(proxy, body).status_code for _ in range(2)] == [202, 202]
        assert len(sandbox.invitations()) == 1
        proxy.stop()
    lines = [line for line in proxy.log if "the cache file" in line]
    assert len(lines) == 2, lines
    assert "can't be used, going on without it: the disk is full" in lines[0]
    assert "can be used again" in lines[1]


def test_a_full_disk_ends_no_worker_whose_counts_for_metrics_lie_on_it(
    sandbox: RunningSandbox, small_disk: tuple[Path, Filling]
) -> None:
    disk, full = small_disk
    with RunningProxy(sandbox, TMPDIR=str(disk), WEB_CONCURRENCY="1") as proxy:
        assert proxy.get("/v1/reviews", sku="LAMP-01").status_code == 200
        [worker] = proxy.workers()
        with full(disk, worker):
            # A series that is counted for the first time, then a worker that begins.
            assert proxy.get("/healthz").status_code == 200
            os.kill(worker, signal.SIGKILL)
            assert proxy.get("/v1/reviews", sku="LAMP-01").status_code == 200
            assert proxy.get("/metrics").status_code == 200
        assert len(proxy.workers()) == 2


def test_a_start_in_a_folder_that_can_not_be_opened_says_so_in_one_line(path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with pytest.raises(FileRefused, match=r"and its folder can't be used: Too many open files$"):
            prepare(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
