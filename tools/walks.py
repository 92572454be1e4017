"""Counts a request's walk through the rooms: the files it touches, and the hops from one file to another.

``python -m tools.walks`` runs the sandbox and the proxy, each a process of its own, asks for a product twice and
prints the walk of the miss, of the hit of the response cache, and of a new view on the cached page, and that of their
events, which the server tells in a turn of its own (:class:`~proxy.events.Events`), as here. A hop is a call
from a function in one file of ``proxy/`` to a function in another one, whatever stands between them; the same two
count once, or each review of a page would be a walk of its own.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from proxy import create_app
from proxy.settings import Settings
from tests.running import SECRET, RunningSandbox

PROXY = str(Path(__file__).parent.parent / "proxy") + os.sep


@dataclass
class Walk:
    """The files of ``proxy/`` in the order of the first visit, and the hops between them."""

    files: dict[str, None] = field(default_factory=dict)
    hops: set[tuple[CodeType, CodeType]] = field(default_factory=set)

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        """Take part in the interpreter's profiling: ``call`` events count."""
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(PROXY) or frame.f_code.co_name == "<module>":
            return
        self.files.setdefault(name.removeprefix(PROXY))
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(PROXY):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != name:
            self.hops.add((caller.f_code, frame.f_code))


def walk(step: Callable[[], object]) -> Walk:
    """Return the walk of ``step``, with that of every thread it starts."""
    made = Walk()
    threading.setprofile(made.profile)
    sys.setprofile(made.profile)
    try:
        step()
    finally:
        sys.setprofile(None)
        # The fetch's thread ends a moment after its caller has the answer.
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and thread.daemon:
                thread.join(0.3)
        threading.setprofile(None)
    return made


def walks(app: Any, headers: dict[str, str], sku: str) -> dict[str, Walk]:
    """Return the walks of a cold read, of the same read again, of another view, and of what they reported."""
    client = app.test_client()
    events = app.extensions["events"]
    events.wait_for(lambda _tell: None)

    def get(query: str) -> Callable[[], object]:
        def step() -> None:
            answer = client.get(f"/v1/reviews?sku={query}", headers=headers)
            if answer.status_code != 200:
                raise SystemExit(f"{query}: {answer.status_code} {answer.text}")

        return step

    get("WARM-UP-ONLY")()  # what is built with the first request is no part of a walk
    return {
        "miss": walk(get(sku)),
        "hit": walk(get(sku)),
        "new view on a cached page": walk(get(f"{sku}&stars=5")),
        "the events of all three, told later": walk(events.tell),
    }


def main() -> None:
    """Print the walks."""
    with RunningSandbox() as sandbox:
        settings = Settings.from_environment(
            {
                "TRUSTPILOT_API_KEY": sandbox.api_key,
                "TRUSTPILOT_BUSINESS_UNIT_ID": sandbox.business_unit,
                "TRUSTPILOT_API_URL": sandbox.api_url,
                "PROXY_CREDENTIALS": f"walks:{SECRET}",
                "CACHE_URL": "memory://",
            }
        )
        made = walks(create_app(settings), {"X-Api-Key": SECRET}, "TRUCK-01")
    for name, each in made.items():
        print(f"{name}: {len(each.files)} files, {len(each.hops)} hops between files")
        for file in each.files:
            print(f"    {file}")


if __name__ == "__main__":
    main()
