"""g. The plan: calls a day by way of keeping copies true, and a year under the smallest plan. A simulated clock."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from proxy.app import spawn
from proxy.cache import Lifetimes, MemoryBackend
from proxy.cache.backend import Window
from proxy.clock import Priority
from proxy.reviews.batching import SummaryBatches
from proxy.reviews.models import Page
from proxy.reviews.page_loader import WHOLE, PageLoader
from proxy.reviews.summary import Summary
from proxy.sync.planner import Planner
from proxy.trustpilot.decode import read_batch_summaries
from proxy.trustpilot.errors import Malformed, QuotaUsedUp
from proxy.trustpilot.plan import Plan
from proxy.trustpilot.quota import Quota
from tests.sync.shop import FRESH, STALE, UNIT, Clock, Heart, Shop
from tools.bench.report import Line
from tools.bench.scale import FULL, Scale

_NEW_A_DAY = 200
_YEAR = 200_000
_DAY = 86_400
_STEP = 9.0
_TICK = 600.0
_WAYS = ("off", "summaries", "feed")


def plan(scale: Scale) -> list[Line]:
    """Ask for all products all day in each way; then spend a year."""
    products = scale.planned_products
    lines = []
    for way in _WAYS:
        # Without sync each day is like the next: a fetch per product and interval, so that one shows it.
        days = min(1.0, scale.planned_days) if way == "off" else scale.planned_days
        calls = _calls_a_day(way, products, days)
        name = f"{way}: {products:,} products asked for all day"
        whole = calls.pop("whole", 0.0)
        total = calls.total()
        ceiling = _ceiling(way, products, calls["changed"]) if scale is FULL else None
        lines.append(Line("plan", name, total, "calls a day", ceiling=ceiling))
        lines += [Line("plan", f"{way}: of them {kind}", count, "calls a day") for kind, count in calls.items()]
        if way != "off":
            lines.append(Line("plan", f"{way}: once per CACHE_STALE_SECONDS in full", whole, "calls a day besides"))
    for way, skus in (("off", 1), ("summaries", 100), ("feed", 0)):
        made, fresh, whole = _year(scale.planned_products, skus)
        lines.append(Line("plan", f"{way}: a year", made, "calls", ceiling=_YEAR))
        lines.append(Line("plan", f"{way}: age reached, median of the year", fresh / 3600, "hours"))
        lines.append(Line("plan", f"{way}: age of an edited text, median", whole / _DAY, "days"))
    return lines


def _ceiling(way: str, products: int, changed: float) -> float | None:
    """Return the promise for 10,000 products, and the like for others: what only a fetch shows is not part of it."""
    rounds = _DAY / FRESH
    if way == "summaries":
        return (rounds * 100 + 100) * products / 10_000 + changed
    return rounds + 24 * -(-products // 1000) + changed if way == "feed" else None


class _Shop(Shop):
    """Tells what each fetch was for, and remembers how it writes a summary: there are millions of them."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._now = clock
        self._fetched: dict[str, float] = {}
        self._summaries: dict[str, bytes] = {}

    def add(self, sku: str, **fields: Any) -> dict[str, Any]:
        self._summaries.pop(sku, None)
        return super().add(sku, **fields)

    def reviews(self, business_unit: str, sku: str, **how: Any) -> Page:
        fetched = self._fetched.get(sku)
        if fetched is not None:
            self.calls["whole" if self._now() >= fetched + STALE - FRESH else "changed"] += 1
            self.calls["reviews"] -= 1
        self._fetched[sku] = self._now()
        return super().reviews(business_unit, sku, **how)

    def batch_summaries(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> dict[str, Summary | Malformed]:
        self.calls["summaries"] += 1
        listed = b",".join(self._summaries.get(sku) or self._write(sku) for sku in skus)
        return read_batch_summaries(b'{"summaries":[' + listed + b"]}")

    def _write(self, sku: str) -> bytes:
        self._summaries[sku] = json.dumps({"sku": sku, **self.counts_of(sku)}).encode()
        return self._summaries[sku]


def _calls_a_day(way: str, products: int, days: float) -> Counter[str]:
    """Return the calls of a day by what they are for, the mean of ``days`` after all products were asked for once."""
    heart = Heart(sync=way != "off", has_feed=way == "feed", shop=_Shop)
    skus = [f"S{number}" for number in range(products)]
    for sku in skus:
        heart.shop.add(sku)
        heart.shop.add(sku)
    if way == "feed":
        heart.sync.round()
        heart.clock.now += 2
    batches = SummaryBatches(heart.shop.batch_summaries)
    pages = PageLoader(heart.cache, heart.shop, batches, UNIT, None, without_reviews=heart.shops.without_reviews_at)
    # Each is asked for as soon as it may be stale; in between its copy is fresh and nothing would be called.
    at_once = products * _STEP / FRESH
    due, place, new = 0.0, 0, 0.0
    first = int(FRESH / _STEP)
    for number in range(first + int(days * _DAY / _STEP)):
        if number == first:
            # Until here they were asked for one after the other, for the first time.
            heart.shop.calls.clear()
        heart.clock.now += _STEP
        new += _NEW_A_DAY * _STEP / _DAY
        while new >= 1:
            new -= 1
            heart.shop.add(skus[int(heart.clock.now) * 7919 % products])
        if way == "feed":
            heart.sync.round()
        due += at_once
        while due >= 1:
            due -= 1
            pages.page(skus[place % products], WHOLE)
            place += 1
        heart.jobs.run()
    return Counter({kind: count / days for kind, count in heart.shop.calls.items() if count})


def _year(products: int, skus_per_call: int) -> tuple[int, float, float]:
    """Spend as much as the pace asks for, ten minutes at a time; return the calls and the ages reached."""
    clock = Clock()
    backend = MemoryBackend(0, clock)
    lifetimes = Lifetimes(FRESH, STALE, 300)
    quota = Quota(backend, [Window("5 minutes", 10**9, 300)], clock=clock, plan=Plan(backend, _YEAR, clock))
    planner = Planner(
        quota.plan_use,
        lifetimes,
        spawn,
        backend,
        asked=lambda: products,
        skus_per_call=skus_per_call or 1,
        has_feed=not skus_per_call,
    )
    fresh, whole = [], []
    debts = dict.fromkeys((Priority.FEED, Priority.BACKGROUND, Priority.VALIDATION), 0.0)
    for _ in range(int(365 * _DAY / _TICK)):
        clock.now += _TICK
        planner.tick()
        pace = lifetimes.pace
        compare = planner.compare_seconds(products)
        debts[Priority.BACKGROUND] += _NEW_A_DAY * _TICK / _DAY
        if skus_per_call != 1:
            debts[Priority.VALIDATION] += products * _TICK / (STALE * pace.whole)
        if skus_per_call:
            debts[Priority.VALIDATION] += products / skus_per_call * _TICK / (FRESH * pace.fresh)
        else:
            debts[Priority.FEED] += _TICK / (FRESH * pace.fresh) + _TICK / compare * (-(-products // 1000))
        for priority in debts:
            while debts[priority] >= 1:
                try:
                    quota.spend(priority=priority)
                except QuotaUsedUp:
                    debts[priority] = 0.0
                    break
                debts[priority] -= 1
        fresh.append(FRESH * pace.fresh)
        whole.append(STALE * pace.whole)
    use = quota.plan_use()
    return use.used if use else 0, statistics.median(fresh), statistics.median(whole)
