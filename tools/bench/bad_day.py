"""c. A bad day: Trustpilot fails, or hangs, in the middle of a send; freshness shrunk so that copies run out."""

from __future__ import annotations

import asyncio
import time

from tests.running import SECRET, RunningSandbox
from tools.bench.asking import LATE_SECONDS, Got, rendered
from tools.bench.report import Line
from tools.bench.scale import Scale
from tools.bench.send import plan, stock
from tools.bench.servers import proxy

_PAUSE = 0.05
MOST_WASTED = 20


def bad_day(sandbox: RunningSandbox, scale: Scale) -> list[Line]:
    """Render warm products before, during and after the trouble, each kind of trouble in turn; the worst counts."""
    sandbox.reset()
    skus = stock(sandbox, scale.bad_skus)
    lines = []
    for trouble in ("fail", "hang"):
        rounds = [asyncio.run(_day(sandbox, skus, trouble, scale)) for _ in range(scale.rounds)]
        blank, late, wasted, asked = (max(one[place] for one in rounds) for place in range(4))
        lines += [
            Line("bad day", f"{trouble}: answers asked for", asked),
            Line("bad day", f"{trouble}: blank", blank, "answers", ceiling=0),
            Line("bad day", f"{trouble}: late", late, "answers", ceiling=0),
            Line("bad day", f"{trouble}: wasted", wasted, "calls", ceiling=MOST_WASTED),
        ]
    return lines


async def _day(sandbox: RunningSandbox, skus: list[str], trouble: str, scale: Scale) -> tuple[int, int, int, int]:
    with proxy(sandbox, CACHE_FRESH_SECONDS="1", TRUSTPILOT_CALLS_PER_5_MINUTES="100000") as server:
        headers = {"apikey": SECRET}
        every = plan(skus, len(skus) * 4)
        # Quietly, and each thing that will be asked for.
        warm = await rendered(server.url, headers, every, 4)
        assert {got.status for got in warm} == {200}
        await asyncio.sleep(1)
        answers: list[Got] = []
        over = asyncio.Event()

        async def load() -> None:
            while not over.is_set():
                answers.extend(await rendered(server.url, headers, every, 10, pause=_PAUSE))

        running = asyncio.create_task(load())
        await asyncio.sleep(scale.bad_seconds / 3)
        await asyncio.to_thread(sandbox.behave, trouble)
        began = time.time()
        await asyncio.sleep(scale.bad_seconds)
        ledger = await asyncio.to_thread(sandbox.ledger)
        await asyncio.to_thread(sandbox.behave, "ok")
        await asyncio.sleep(scale.bad_seconds / 3)
        over.set()
        await running
    blank = sum(got.status != 200 for got in answers)
    late = sum(got.took > LATE_SECONDS for got in answers)
    return blank, late, sum(call.at > began for call in ledger.calls), len(answers)
