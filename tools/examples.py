"""Records the answers that ``/docs`` shows, from the sandbox's sample reviews: ``python -m tools.examples``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.running import UNIT, RunningProxy, RunningSandbox

FILE = Path(__file__).parents[1] / "proxy/api/examples.json"
_ASKED = {
    "/v1/reviews": "/v1/reviews?sku=TRUCK-01&limit=1",
    "/v1/products": "/v1/products?skus=TRUCK-01&limit=1",
    "/v1/summary": "/v1/summary?sku=TRUCK-01",
    "/v1/product-reviews/business-units/{bu}/reviews": f"/v1/product-reviews/business-units/{UNIT}/reviews"
    "?sku=TRUCK-01&perPage=1",
    "/v1/product-reviews/business-units/{bu}": f"/v1/product-reviews/business-units/{UNIT}?sku=TRUCK-01",
    "/readyz": "/readyz",
}


def recorded() -> dict[str, Any]:
    """Return an answer by path."""
    with RunningSandbox() as sandbox, RunningProxy(sandbox) as proxy:
        return {path: proxy.get(asked).json() for path, asked in _ASKED.items()}


if __name__ == "__main__":
    FILE.write_text(json.dumps(recorded(), ensure_ascii=False, indent=1) + "\n", "utf-8")
