"""Writes the table of ages into docs/freshness.md: ``python -m tools.freshness``."""

from __future__ import annotations

from pathlib import Path

from proxy.cache import Lifetimes, MemoryBackend
from proxy.sync import Planner
from proxy.trustpilot.quota import YEAR_DAYS, PlanUse

PAGE = Path(__file__).parents[1] / "docs/freshness.md"
_BEGIN, _END = "<!-- ages begin -->\n", "<!-- ages end -->"
_FRESH, _STALE, _MISSING = 900.0, 86_400.0, 300.0
_PLANS = (200_000, 1_000_000, None)
_PRODUCTS = (1_000, 10_000, 50_000)


def ages(calls: int | None, products: int, *, has_feed: bool, skus_per_call: int) -> tuple[float, float, float]:
    """Return in how many seconds a new, a hidden and an edited review is seen, all products being asked for."""
    lifetimes = Lifetimes(_FRESH, _STALE, _MISSING)
    share = calls // YEAR_DAYS if calls else 0
    use = PlanUse(calls, 0, share, share, 0) if calls else None
    planner = Planner(
        lambda: use,
        lifetimes,
        MemoryBackend(),
        asked=lambda: products,
        skus_per_call=skus_per_call,
        has_feed=has_feed,
    )
    # The share is used up to where the pace is set, and no further.
    use = use and PlanUse(use.limit, 0, share * 6 // 10, share, 0)
    planner.tick()
    new = _FRESH * lifetimes.pace.fresh
    if skus_per_call == 1:
        # Each fetch shows everything.
        return new, new, new
    return new, planner.compare_seconds(products) if has_feed else new, _STALE * lifetimes.pace.whole


def table() -> str:
    """Return the ages as a table in Markdown."""
    rows = ["| calls a year | products | way | a new review | a hidden one | an edited text |", "| --- " * 6 + "|"]
    for calls in _PLANS:
        for products in _PRODUCTS:
            for way, has_feed, skus in (("off", False, 1), ("summaries", False, 100), ("feed", True, 100)):
                shown = " | ".join(map(_span, ages(calls, products, has_feed=has_feed, skus_per_call=skus)))
                plan = f"{calls:,}" if calls else "unlimited"
                rows.append(f"| {plan} | {products:,} | `{way}` | {shown} |")
    return "\n".join(rows) + "\n"


def _span(seconds: float) -> str:
    for name, length in (("days", 86_400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds / 60:.0f} minutes"


def page(text: str) -> str:
    """Return ``text`` with the table as it has to be."""
    before, _, rest = text.partition(_BEGIN)
    return before + _BEGIN + table() + _END + rest.partition(_END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
