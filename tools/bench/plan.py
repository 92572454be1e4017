"""g. The plan: calls a day by way of keeping copies true, and a year under the smallest plan. A simulated clock."""

from __future__ import annotations

import gc
import json
import os
import statistics
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from proxy.cache import Lifetimes, MemoryBackend
from proxy.cache.backend import Window
from proxy.clock import Priority
from proxy.reviews.models import PER_PAGE, FeedItem, Page
from proxy.reviews.page_loader import WHOLE, PageLoader, SummaryBatches
from proxy.reviews.view import Summary
from proxy.sync import Planner
from proxy.trustpilot import Malformed, QuotaUsedUp
from proxy.trustpilot.changes import read_feed
from proxy.trustpilot.client import read_batch_summaries
from proxy.trustpilot.quota import Plan, Quota
from tests.sync.shop import FRESH, STALE, UNIT, Clock, Heart, Shop
from tools.bench.report import Line
from tools.bench.scale import FULL, Scale

_NEW_A_DAY = 200
_YEAR = 200_000
_DAY = 86_400
_STEP = 9.0
_TICK = 600.0
_SKUS_PER_CALL = {"summaries": 100, "feed": 0, "off": 1}
"""How many products a call confirms, by the way to keep copies true. The longest first."""

_OFF_DAYS = 0.25
"""Without sync each hour is like the next: a fetch per product and interval."""


def plan(scale: Scale) -> list[Line]:
    """Ask for all products all day in each way, and spend a year: on as many processors as there are."""
    products = scale.planned_products
    days = {way: min(_OFF_DAYS, scale.planned_days) if way == "off" else scale.planned_days for way in _SKUS_PER_CALL}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        weeks = {way: processes.submit(_calls_a_day, way, products, days[way]) for way in _SKUS_PER_CALL}
        years = {way: processes.submit(_year, products, skus) for way, skus in _SKUS_PER_CALL.items()}
        lines = [
            line for way, week in weeks.items() for line in _day_lines(way, products, days[way], week.result(), scale)
        ]
        return lines + [line for way, year in years.items() for line in _year_lines(way, *year.result())]


def _day_lines(way: str, products: int, days: float, calls: Counter[str], scale: Scale) -> list[Line]:
    whole = calls.pop("whole", 0.0)
    ceiling = _ceiling(way, products, calls["changed"]) if scale is FULL else None
    length = f"{days:g} days" if days >= 1 else f"{24 * days:g} hours, counted up to a day"
    name = f"{way}: {products:,} products asked for all day, {length}"
    lines = [Line("plan", name, calls.total(), "calls a day", ceiling=ceiling)]
    lines += [Line("plan", f"{way}: of them {kind}", count, "calls a day") for kind, count in calls.items()]
    if way != "off":
        name = f"{way}: on top, in no limit: each in full once per CACHE_STALE_SECONDS"
        lines.append(Line("plan", name, whole, "calls a day"))
    return lines


def _year_lines(way: str, made: int, fresh: float, whole: float) -> list[Line]:
    return [
        Line("plan", f"{way}: a year", made, "calls", ceiling=_YEAR),
        Line("plan", f"{way}: age reached, median of the year", fresh / 3600, "hours"),
        Line("plan", f"{way}: age of an edited text, median", whole / _DAY, "days"),
    ]


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
        self._listed: list[tuple[str, dict[str, Any]]] = []

    def add(self, sku: str, **fields: Any) -> dict[str, Any]:
        self._summaries.pop(sku, None)
        review = super().add(sku, **fields)
        self._listed.append((sku, review))
        return review

    def reviews(self, business_unit: str, sku: str, *filters: Any, **how: Any) -> Page:
        fetched = self._fetched.get(sku)
        if fetched is not None:
            self.calls["whole" if self._now() >= fetched + STALE - FRESH else "changed"] += 1
            self.calls["reviews"] -= 1
        self._fetched[sku] = self._now()
        return super().reviews(business_unit, sku, *filters, **how)

    def batch_summaries(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> dict[str, Summary | Malformed]:
        self.calls["summaries"] += 1
        listed = b",".join(self._summaries.get(sku) or self._write(sku) for sku in skus)
        return read_batch_summaries(b'{"summaries":[' + listed + b"]}")

    def feed(self, business_unit: str, page: int, priority: Priority) -> tuple[list[FeedItem], int]:
        self.calls["feed"] += 1
        end = len(self._listed) - (page - 1) * PER_PAGE
        shown = [{**review, "product": {"sku": sku}} for sku, review in self._listed[max(0, end - PER_PAGE) : end]]
        return read_feed(json.dumps({"productReviews": shown[::-1]}).encode())

    def _write(self, sku: str) -> bytes:
        self._summaries[sku] = json.dumps({"sku": sku, **self.counts_of(sku)}).encode()
        return self._summaries[sku]


def _calls_a_day(way: str, products: int, days: float) -> Counter[str]:
    """Return the calls of a day by what they are for, the mean of ``days`` after all products were asked for once."""
    # A fifth of the time went into looking through all copies again and again.
    gc.set_threshold(1_000_000)
    heart = Heart(sync=way != "off", has_feed=way == "feed", shop=_Shop)
    skus = [f"S{number}" for number in range(products)]
    for sku in skus:
        heart.shop.add(sku)
        heart.shop.add(sku)
    if way == "feed":
        heart.sync.round()
        heart.clock.now += 2
    batches = SummaryBatches(heart.shop)
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
    backend = MemoryBackend(clock)
    lifetimes = Lifetimes(FRESH, STALE, 300)
    quota = Quota(backend, [Window("5 minutes", 10**9, 300)], clock=clock, plan=Plan(backend, _YEAR, clock))
    planner = Planner(
        quota.plan_use,
        lifetimes,
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
