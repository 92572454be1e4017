"""How much is measured: in full, or just enough to see that the benches work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes of the benches; times in seconds."""

    rounds: int = 5
    hit_seconds: int = 3
    renders: int = 6000
    skus: int = 300
    users: int = 32
    connections: tuple[int, ...] = (100, 300, 1000, 3000)
    burst_rounds: int = 3
    bad_skus: int = 60
    bad_seconds: float = 5.0
    sizes: tuple[int, ...] = (100, 1000, 10_000)
    hits: int = 2000
    stored_skus: int = 100_000
    told: int = 1000
    kills: int = 10
    writes: int = 1000
    counted_hits: int = 1000
    planned_products: int = 10_000
    planned_days: float = 7.0
    backfilled: tuple[int, int] = (20_000, 10)
    """Products, and reviews of each."""
    backfill_connections: int = 1000
    compared_products: int = 50_000
    compare_rounds: int = 3
    confirmed_rounds: int = 250


FULL = Scale()
SMOKE = Scale(
    rounds=1,
    hit_seconds=1,
    renders=40,
    skus=5,
    users=4,
    connections=(8,),
    burst_rounds=1,
    bad_skus=3,
    bad_seconds=0.5,
    sizes=(3, 6),
    hits=20,
    stored_skus=100,
    planned_products=300,
    planned_days=0.02,
    told=10,
    kills=1,
    writes=10,
    backfilled=(200, 4),
    backfill_connections=8,
    compared_products=100,
    compare_rounds=1,
    confirmed_rounds=30,
)
