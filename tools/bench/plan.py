"""g. The plan: calls a day by way of keeping copies true, and a year under the smallest plan. A simulated clock."""

from __future__ import annotations

import statistics

from proxy.app import spawn
from proxy.cache import Lifetimes, MemoryBackend
from proxy.cache.backend import Window
from proxy.clock import Priority
from proxy.sync.planner import Planner
from proxy.trustpilot.errors import QuotaUsedUp
from proxy.trustpilot.plan import Plan
from proxy.trustpilot.quota import Quota
from tests.sync.shop import FRESH, STALE, Clock, Heart
from tools.bench.report import Line
from tools.bench.scale import FULL, Scale

_NEW_A_DAY = 200
_YEAR = 200_000
_DAY = 86_400
_STEP = 9.0
_TICK = 600.0


def plan(scale: Scale) -> list[Line]:
    """Ask for all products all day in each way; then spend a year."""
    products, hours = (10_000, 2.0) if scale is FULL else (300, 0.5)
    rounds = _DAY / FRESH
    lines = []
    for mode, ceiling in (
        ("off", None),
        ("summaries", rounds * products / 100 * 1.01 + 4 + _NEW_A_DAY),
        ("feed", rounds + 24 * -(-products // 1000) + _NEW_A_DAY),
    ):
        calls = _calls_a_day(mode, products, hours)
        name = f"{mode}: {products:,} products asked for all day, {_NEW_A_DAY} new reviews"
        lines.append(Line("plan", name, calls, "calls a day", ceiling=ceiling if scale is FULL else None))
    for mode, skus in (("summaries", 100), ("feed", 0)):
        made, fresh, whole = _year(products, skus)
        lines.append(Line("plan", f"{mode}: a year", made, "calls", ceiling=_YEAR))
        lines.append(Line("plan", f"{mode}: age reached, median of the year", fresh / 3600, "hours"))
        lines.append(Line("plan", f"{mode}: age of an edited text, median", whole / _DAY, "days"))
    return lines


def _calls_a_day(mode: str, products: int, hours: float) -> float:
    heart = Heart(sync=mode != "off", has_feed=mode == "feed")
    skus = [f"S{number}" for number in range(products)]
    for sku in skus:
        heart.shop.add(sku)
        heart.shop.add(sku)
    if mode == "feed":
        heart.sync.round()
        heart.clock.now += 2
    heart.ask(*skus)
    at_once = max(1, int(products * _STEP / FRESH))
    place, new = 0, 0.0
    first = int(FRESH / _STEP)
    for number_of_step in range(first + int(hours * 3600 / _STEP)):
        if number_of_step == first:
            # Nothing was stale before.
            heart.shop.calls.clear()
        heart.clock.now += _STEP
        new += _NEW_A_DAY * _STEP / _DAY
        while new >= 1:
            new -= 1
            heart.shop.add(skus[int(heart.clock.now) * 7919 % products])
        if mode == "feed":
            heart.sync.round()
        heart.ask(*(skus[(place + number) % products] for number in range(at_once)))
        place += at_once
    return heart.shop.calls.total() * 24 / hours


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
