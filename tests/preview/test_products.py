"""The products to choose from are those that the proxy holds, and listing them calls nobody."""

from __future__ import annotations

import requests

from tests.running import PATIENT, SECRET, RunningSandbox

from .conftest import Previewing


def listed(previewing: Previewing, like: str = "") -> dict[str, tuple[str, int]]:
    address = f"{previewing.url}/preview/products?like={like}"
    answer = requests.get(address, headers={"X-Api-Key": SECRET}, timeout=5)
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


def test_any_product_is_found_by_its_sku_however_many_there_are(sandbox: RunningSandbox) -> None:
    skus = [f"FIND-{number:03d}" for number in range(240)]
    # Its own: what other tests had fetched without a summary takes a place and is not listed.
    with Previewing(sandbox, PREVIEW="true", **PATIENT) as previewing:
        for start in range(0, len(skus), 20):
            asked = previewing.get("/v1/products", skus=",".join(skus[start : start + 20])).json()["products"]
            assert all(product["summary"] for product in asked)
        calls = sandbox.ledger().total
        assert len(listed(previewing)) == 200
        for like, found in (("FIND-239", "FIND-239"), ("find-17", "FIND-171"), ("237", "FIND-237")):
            assert found in listed(previewing, like)
        assert listed(previewing, "nobody-has-this") == {}
        assert sandbox.ledger().total == calls
