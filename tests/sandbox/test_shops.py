"""What Trustpilot tells about whole shops: feed, summaries, catalogue, deletions, imported reviews, links."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.running import UNIT, RunningSandbox
from tests.sandbox.callers import REVIEWS_PATH, all_reviews, call, invite, private, reviews, summary, token

PRODUCTS = f"/product-reviews/business-units/{UNIT}"
SHOP = f"/business-units/{UNIT}"


def _review(name: str, created: str = "2024-01-01T00:00:00Z", consumer: str = "c-1") -> dict[str, Any]:
    return {"id": name, "createdAt": created, "stars": 5, "consumer": {"id": consumer, "displayName": "Ann"}}


def _feed(sandbox: RunningSandbox, unit: str = UNIT, **params: Any) -> list[Any]:
    """Read the feed to its end."""
    found: list[Any] = []
    for page in range(1, 1000):
        path = f"/product-reviews/business-units/{unit}/reviews"
        shown = private(sandbox, path, params={"page": page, "perPage": 100, **params}).json()["productReviews"]
        if not shown:
            return found
        found += shown
    raise AssertionError("the feed never ends")


def _ids(found: list[Any]) -> list[str]:
    return [review["id"] for review in found]


@pytest.fixture
def small(sandbox: RunningSandbox) -> str:
    """A shop of its own with 250 reviews of 50 products."""
    sandbox.put_shop("small", "Small Shop")
    for number in range(50):
        dates = [f"2024-{month:02d}-{number % 28 + 1:02d}T{number // 28:02d}:00:00Z" for month in range(1, 6)]
        written = [_review(f"{number}-{date}", date) for date in dates]
        sandbox.put_product(f"P-{number}", written, business_unit="small")
    return "small"


def test_the_feed_has_all_reviews_of_a_shop_newest_first(sandbox: RunningSandbox, small: str) -> None:
    found = _feed(sandbox, small)
    assert len(set(_ids(found))) == 250
    assert all(one["createdAt"] >= other["createdAt"] for one, other in pairwise(found))


def test_the_feed_holds_products_and_the_data_of_persons(sandbox: RunningSandbox) -> None:
    [newest] = private(sandbox, f"{PRODUCTS}/reviews", params={"sku": "TRUCK-01", "perPage": 1}).json()[
        "productReviews"
    ]
    assert newest["product"]["sku"] == "TRUCK-01"
    assert newest["product"]["productUrl"] == "https://toy-trucks.example/products/TRUCK-01"
    assert "@" in newest["consumer"]["email"]
    assert newest["referenceId"]
    [public] = reviews(sandbox, "TRUCK-01", perPage=1)["productReviews"]
    assert "email" not in public["consumer"]
    assert {"referenceId", "product"}.isdisjoint(public)


def test_the_feed_can_be_narrowed(sandbox: RunningSandbox) -> None:
    assert len(_feed(sandbox, sku="TRUCK-01")) == 153
    assert {review["language"] for review in _feed(sandbox, sku="TRUCK-01", language="fr")} == {"fr"}
    assert _feed(sandbox, state="archived") == []


@pytest.mark.parametrize("params", [{"perPage": 101}, {"page": 0}, {"state": "lost"}, {"sku": ["A", "B"]}])
def test_what_the_feed_does_not_take_is_a_400(sandbox: RunningSandbox, params: dict[str, Any]) -> None:
    assert private(sandbox, f"{PRODUCTS}/reviews", params=params).status_code == 400


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (f"{PRODUCTS}/reviews", "GET"),
        (f"{PRODUCTS}/summaries", "GET"),
        (f"{SHOP}/products", "GET"),
        (f"{PRODUCTS}/invitation-links", "POST"),
        (f"{SHOP}/invitation-links", "POST"),
    ],
)
def test_a_key_does_not_open_what_takes_a_token(sandbox: RunningSandbox, path: str, method: str) -> None:
    assert call(sandbox, f"/private{path}", method, json={}).status_code == 401
    unknown = path.replace(UNIT, "unknown")
    assert private(sandbox, unknown, method, json={}).status_code == 404


@pytest.mark.parametrize(("order", "is_newest_first"), [("newest", True), ("oldest", False), ("shuffled", False)])
def test_lists_come_in_the_order_set(sandbox: RunningSandbox, small: str, order: str, is_newest_first: bool) -> None:
    sandbox.lists(feed_order=order, reviews_order=order)
    for found in (_feed(sandbox, small), all_reviews(sandbox, "TRUCK-01")):
        dates = [review["createdAt"] for review in found]
        assert (dates == sorted(dates, reverse=True)) is is_newest_first
        assert (dates == sorted(dates)) is (order == "oldest")
    assert len(set(_ids(_feed(sandbox, small)))) == 250


def test_reviews_arrive_while_a_feed_is_read(sandbox: RunningSandbox, small: str) -> None:
    before = set(_ids(_feed(sandbox, small)))
    sandbox.lists(arrivals=7)
    found = _ids(_feed(sandbox, small))
    # What was on the end of a page is on the next page again: nothing is lost, something is there twice.
    assert (set(found) >= before, len(found) > len(set(found))) == (True, True)
    sandbox.lists()
    after = _feed(sandbox, small)
    assert len(after) == 250 + 7 * 3
    assert all(one["createdAt"] >= other["createdAt"] for one, other in pairwise(after))


def test_a_feed_loses_a_page_while_reviews_arrive(sandbox: RunningSandbox, small: str) -> None:
    before = _ids(_feed(sandbox, small))
    sandbox.lists(lost_page=2, arrivals=1)
    assert set(before) - set(_ids(_feed(sandbox, small))) == set(before[100:199])


def test_all_products_summaries_come_a_thousand_a_call(sandbox: RunningSandbox) -> None:
    sandbox.put_shop("large", "Large Shop")
    path = "/_sandbox/generate?business_unit=large"
    sandbox.control("POST", path.removeprefix("/_sandbox"), {"products": 1500, "reviews": 3})
    pages = [
        private(sandbox, "/product-reviews/business-units/large/summaries", params={"perPage": 1000, "page": page})
        for page in (1, 2, 3)
    ]
    told = [page.json()["summaries"] for page in pages]
    assert [len(page) for page in told] == [1000, 500, 0]
    assert {each["numberOfReviews"]["total"] for page in told for each in page} == {3}
    written = private(sandbox, "/product-reviews/business-units/large/reviews", params={"sku": "SKU-7"}).json()
    [seventh] = [each for page in told for each in page if each["sku"] == "SKU-7"]
    stars = [review["stars"] for review in written["productReviews"]]
    assert [seventh["numberOfReviews"][name] for name in ("oneStar", "fiveStars")] == [stars.count(1), stars.count(5)]
    too_many = private(sandbox, "/product-reviews/business-units/large/summaries", params={"perPage": 1001})
    assert too_many.status_code == 400


def test_a_batch_beyond_the_size_set_is_refused(sandbox: RunningSandbox) -> None:
    sandbox.lists(batch_skus=2)
    sizes = [call(sandbox, f"{PRODUCTS}/batch-summaries", "POST", json={"skus": list("ABC")[:n]}) for n in (2, 3)]
    assert [answer.status_code for answer in sizes] == [200, 400]


def test_the_catalogue_lists_products_with_their_pages(sandbox: RunningSandbox) -> None:
    told = private(sandbox, f"{SHOP}/products").json()
    assert (len(told["products"]), told["isLastPage"]) == (48, True)
    first = private(sandbox, f"{SHOP}/products", params={"perPage": 47}).json()
    assert (len(first["products"]), first["isLastPage"]) == (47, False)
    [truck] = private(sandbox, f"{SHOP}/products", params={"skus": "TRUCK-01,NOBODY"}).json()["products"]
    assert (truck["sku"], truck["link"]) == ("TRUCK-01", "https://toy-trucks.example/products/TRUCK-01")


def test_several_skus_are_merged_into_one_list_and_one_summary(sandbox: RunningSandbox) -> None:
    shared = _review("shared", "2024-02-01T00:00:00Z")
    sandbox.put_product("RED", [_review("old"), shared])
    sandbox.put_product("BLUE", [_review("new", "2024-03-01T00:00:00Z"), shared])
    assert _ids(all_reviews(sandbox, "RED,BLUE,GREEN")) == ["new", "shared", "old"]
    assert summary(sandbox, "RED,BLUE")["numberOfReviews"]["total"] == 3
    assert sandbox.ledger().calls[0].skus == ["RED", "BLUE", "GREEN"]
    sandbox.behave("fail", skus=["BLUE"])
    assert call(sandbox, REVIEWS_PATH, params={"sku": "RED,BLUE"}).status_code == 500


def test_a_product_is_known_by_its_page_too(sandbox: RunningSandbox) -> None:
    for sku in ("RED", "BLUE"):
        sandbox.put_product(sku, [_review(sku)], product_url="https://shop.example/scarf?colour=any")
    asked = {"productUrl": "https://shop.example/scarf?colour=any", "perPage": 100}
    assert _ids(call(sandbox, REVIEWS_PATH, params=asked).json()["productReviews"]) == ["RED", "BLUE"]
    assert call(sandbox, PRODUCTS, params=asked).json()["numberOfReviews"]["total"] == 2
    unknown = call(sandbox, REVIEWS_PATH, params={"productUrl": "https://shop.example/nothing"})
    assert unknown.json() == {"productReviews": [], "links": []}


def test_imported_reviews_are_a_list_of_their_own_and_poorer(sandbox: RunningSandbox) -> None:
    found = call(sandbox, f"{PRODUCTS}/imported-reviews", params={"sku": "OLD-01", "perPage": 100}).json()
    assert (len(found["productReviews"]), len(found["links"])) == (100, 1)
    assert [review["attachments"] + review["attributeRatings"] for review in found["productReviews"]] == [[]] * 100
    told = call(sandbox, f"{PRODUCTS}/imported-reviews-summaries", params={"sku": "OLD-01"}).json()
    assert told["numberOfReviews"]["total"] == 105
    assert reviews(sandbox, "OLD-01")["productReviews"] == []
    sandbox.put_product("OLD-01", imported=[_review("brought along")])
    one = call(sandbox, f"{PRODUCTS}/imported-reviews", params={"sku": "OLD-01,TRUCK-01", "perPage": 100}).json()
    assert len(one["productReviews"]) == 31


def test_a_shop_has_a_profile_and_reviews_of_its_own(sandbox: RunningSandbox) -> None:
    told = call(sandbox, SHOP).json()
    assert (told["id"], told["displayName"], told["name"]["identifying"]) == (
        UNIT,
        "Toy Trucks",
        "toy-trucks.example",
    )
    assert told["score"]["stars"] * 2 == round(told["score"]["trustScore"] * 2)
    page = call(sandbox, f"{SHOP}/reviews", params={"perPage": 100}).json()
    assert (len(page["reviews"]), len(page["links"])) == (100, 1)
    assert told["numberOfReviews"]["total"] == 130
    written = {"id", "stars", "language", "createdAt", "consumer", "title", "text", "companyReply", "isVerified"}
    assert {frozenset(review) for review in page["reviews"]} == {frozenset(written)}
    assert any(set(review["companyReply"] or ()) == {"text", "createdAt"} for review in page["reviews"])
    dates = [review["createdAt"] for review in page["reviews"]]
    assert dates == sorted(dates, reverse=True)
    oldest = call(sandbox, f"{SHOP}/reviews", params={"perPage": 100, "orderBy": "createdat.asc"}).json()["reviews"]
    assert oldest[0]["createdAt"] < dates[-1]
    some = call(sandbox, f"{SHOP}/reviews", params={"stars": [1, 2], "language": "en"}).json()["reviews"]
    assert {(review["stars"] < 3, review["language"]) for review in some} == {(True, "en")}
    assert call(sandbox, f"{SHOP}/reviews", params={"orderBy": "price"}).status_code == 400


@pytest.mark.parametrize("stars", ["0", "1", "1.5", "4.5", "5"])
def test_stars_have_pictures_and_a_word(sandbox: RunningSandbox, stars: str) -> None:
    told = call(sandbox, f"/resources/images/stars/{stars}").json()
    assert set(told) == {"star128x24", "star256x48", "star512x96"}
    assert (told["star256x48"]["width"], told["star256x48"]["height"]) == ("256", "48")
    assert told["star256x48"]["url"].startswith("https://")
    assert told["star512x96"]["url"].startswith("//")
    assert call(sandbox, f"/resources/strings/stars/{stars}").json()["string"]


def test_words_come_in_the_locale_asked_for_and_there_are_no_stars_between(sandbox: RunningSandbox) -> None:
    words = [call(sandbox, "/resources/strings/stars/4.5", params={"locale": to}) for to in ("en-GB", "de_DE", "fi")]
    assert [word.json()["string"] for word in words] == ["Excellent", "Hervorragend", "Excellent"]
    assert call(sandbox, "/resources/strings/stars/2").json()["string"] == "Poor"
    for stars in ("4.7", "0.5", "6", "five"):
        assert call(sandbox, f"/resources/images/stars/{stars}").status_code == 404


def test_a_deleted_review_is_gone_everywhere_and_told_of(sandbox: RunningSandbox) -> None:
    for sku in ("RED", "BLUE"):
        sandbox.put_product(sku, [_review("gone"), _review("stays")])
    assert sandbox.delete(review="gone") == 2
    assert _ids(all_reviews(sandbox, "RED,BLUE")) == ["stays"]
    told = call(sandbox, "/reviews/deletions").json()
    assert [each["reviewId"] for each in told["reviews"]] == ["gone"]
    assert call(sandbox, "/consumers/deletions").json() == {"consumers": [], "nextToken": None}


def test_with_a_consumer_go_all_that_they_wrote(sandbox: RunningSandbox) -> None:
    sandbox.put_product(
        "RED", [_review("1", consumer="left"), _review("2")], imported=[_review("3", consumer="left")]
    )
    assert sandbox.delete(consumer="left") == 2
    assert _ids(all_reviews(sandbox, "RED")) == ["2"]
    assert [each["consumerId"] for each in call(sandbox, "/consumers/deletions").json()["consumers"]] == ["left"]


def test_deletions_are_told_by_time_and_in_parts(sandbox: RunningSandbox) -> None:
    for name in "abcde":
        sandbox.delete(review=name)
    told: list[Any] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        part = call(sandbox, "/reviews/deletions", params=params).json()
        told += part["reviews"]
        if part["nextToken"] is None:
            break
        params["nextToken"] = part["nextToken"]
    assert [each["reviewId"] for each in told] == list("abcde")
    between = {"startDate": told[1]["deletedAt"], "endDate": told[3]["deletedAt"]}
    some = call(sandbox, "/reviews/deletions", params=between).json()["reviews"]
    assert [each["reviewId"] for each in some] == ["b", "c", "d"]
    for odd in ({"limit": 1001}, {"startDate": "yesterday"}, {"nextToken": "x"}):
        assert call(sandbox, "/reviews/deletions", params=odd).status_code == 400


def test_a_shop_changes_alike_with_the_same_seed(sandbox: RunningSandbox) -> None:
    made = sandbox.change(200, 7)
    assert {change["what"] for change in made} == {"added", "edited", "answered", "deleted", "hidden"}
    feed = _feed(sandbox)
    told = call(sandbox, "/reviews/deletions", params={"limit": 1000}).json()["reviews"]
    deleted = {change["id"] for change in made if change["what"] == "deleted"}
    hidden = {change["id"] for change in made if change["what"] == "hidden"}
    assert {each["reviewId"] for each in told} == deleted
    assert (deleted | hidden).isdisjoint(review.get("id") for review in feed if isinstance(review, dict))
    sandbox.reset()
    again = sandbox.change(200, 7)
    assert [(each["what"], each["sku"]) for each in again] == [(each["what"], each["sku"]) for each in made]


@pytest.mark.parametrize("what", ["added", "edited", "answered", "deleted", "hidden"])
def test_a_change_changes_one_review_in_its_way(sandbox: RunningSandbox, what: str) -> None:
    sandbox.put_shop("one", "One")
    sandbox.put_product("A", [_review("first")], business_unit="one")
    path = "/product-reviews/business-units/one/reviews"
    [change] = sandbox.change(1, 1, [what], business_unit="one")
    found = call(sandbox, path, params={"sku": "A"}).json()["productReviews"]
    assert (change["what"], change["sku"]) == (what, "A")
    if what == "added":
        assert _ids(found) == [change["id"], "first"]
        assert datetime.fromisoformat(found[0]["createdAt"]) > datetime.fromisoformat(found[1]["createdAt"])
    elif what in ("deleted", "hidden"):
        assert found == []
    else:
        [changed] = found
        assert changed != _review("first")
        assert ("content" in changed, "firstCompanyComment" in changed) == (what == "edited", what == "answered")


def test_one_shops_trouble_is_not_the_others(sandbox: RunningSandbox) -> None:
    sandbox.behave("fail", status=403, business_units=[sandbox.second_business_unit])
    other = REVIEWS_PATH.replace(UNIT, sandbox.second_business_unit)
    assert call(sandbox, other, params={"sku": "TRUCK-01"}).status_code == 403
    assert call(sandbox, REVIEWS_PATH, params={"sku": "TRUCK-01"}).status_code == 200
    assert [each.business_unit for each in sandbox.ledger().calls] == [sandbox.second_business_unit, UNIT]


def test_links_to_review_the_shop_and_its_products(sandbox: RunningSandbox) -> None:
    shop = {"email": "ada@example.com", "name": "Ada", "referenceNumber": "1", "locale": "en-GB"}
    products = {"consumer": {"email": "ada@example.com", "name": "Ada"}, "referenceId": "1", "productIds": ["p"]}
    service = private(sandbox, f"{SHOP}/invitation-links", "POST", json=shop).json()
    product = private(sandbox, f"{PRODUCTS}/invitation-links", "POST", json=products).json()
    assert (set(service), set(product)) == ({"id", "url"}, {"reviewLinkId", "reviewUrl"})
    assert service["url"].startswith("https://")
    assert product["reviewUrl"].startswith("https://")
    assert [(each["business_unit"], each["body"]) for each in sandbox.links()] == [(UNIT, shop), (UNIT, products)]
    assert sandbox.invitations() == []
    assert sandbox.calls() == {"token": 2, "service_links": 1, "product_links": 1}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{SHOP}/invitation-links", {"email": "ada@example.com"}),
        (f"{SHOP}/invitation-links", []),
        (f"{PRODUCTS}/invitation-links", {"consumer": {"email": "a@example.com"}, "productIds": ["p"]}),
        (f"{PRODUCTS}/invitation-links", {"consumer": {"email": "a@example.com", "name": "A"}}),
        (
            f"{PRODUCTS}/invitation-links",
            {"consumer": {"email": "a@example.com", "name": "A"}, "productIds": ["p"], "products": [{}]},
        ),
    ],
)
def test_a_link_without_what_it_needs_is_a_400(sandbox: RunningSandbox, path: str, body: Any) -> None:
    assert private(sandbox, path, "POST", json=body).status_code == 400
    assert sandbox.links() == []


def test_a_reset_closes_shops_and_forgets_lists_links_and_deletions(sandbox: RunningSandbox, small: str) -> None:
    sandbox.lists(batch_skus=1, feed_order="oldest")
    sandbox.delete(review="670d5810ba62e6b31de97de9")
    private(sandbox, f"{SHOP}/invitation-links", "POST", json={"email": "a@example.com", "name": "A"})
    invite(sandbox, token(sandbox)["access_token"])
    sandbox.reset()
    assert call(sandbox, f"/business-units/{small}").status_code == 404
    assert call(sandbox, "/reviews/deletions").json()["reviews"] == []
    assert (sandbox.links(), len(all_reviews(sandbox, "TRUCK-01"))) == ([], 153)
    assert call(sandbox, f"{PRODUCTS}/batch-summaries", "POST", json={"skus": ["A", "B"]}).status_code == 200
