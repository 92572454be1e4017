"""The products to choose from are those that the proxy holds, and listing them calls nobody."""

from __future__ import annotations

import requests

from tests.running import SECRET, RunningSandbox

from .conftest import Previewing


def listed(previewing: Previewing) -> dict[str, tuple[str, int]]:
    answer = requests.get(previewing.url + "/preview/products", headers={"X-Api-Key": SECRET}, timeout=5)
    assert answer.status_code == 200
    return {one["sku"]: (one["average_text"], one["total"]) for one in answer.json()["products"]}


def test_what_was_asked_for_is_listed_with_its_stars(previewing: Previewing, sandbox: RunningSandbox) -> None:
    for sku in ("TRUCK-01", "BLENDER-450", "NEW-00"):
        previewing.render(
            f"{{% connected_content https://reviews.example.com/v1/reviews?sku={sku} :basic_auth a :save r %}}x"
        )
    calls = sandbox.ledger().total
    found = listed(previewing)
    assert found["TRUCK-01"] == ("4.7", 153)
    assert found["BLENDER-450"][1] == 450
    assert found["NEW-00"] == ("", 0)
    assert next(iter(found)) == max(found, key=lambda sku: found[sku][1])
    assert sandbox.ledger().total == calls
