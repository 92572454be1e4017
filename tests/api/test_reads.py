"""The endpoints' answers, on real sockets."""

from __future__ import annotations

import re
import time

import requests

from proxy.preview.braze import MemoryAnswers, Profile, Request, Response, render
from tests.preview.braze.test_seed import REVIEWS, TRUSTPILOT
from tests.running import SECRET, UNIT, RunningProxy, RunningSandbox


class Sockets:
    """Sends a template's calls as they are."""

    def send(self, asked: Request) -> Response:
        answer = requests.request(asked.method, asked.url, headers=dict(asked.headers), data=asked.body, timeout=20)
        return Response(answer.status_code, dict(answer.headers), answer.content)


def test_the_seeds_snippet_with_only_its_host_changed_renders_the_toy_truck(shared_proxy: RunningProxy) -> None:
    template = REVIEWS.replace(TRUSTPILOT, shared_proxy.url).replace("66ea0530xxxxxx", UNIT).replace("xxxxx", SECRET)
    rendering = render(
        template + "{{ result.productReviews[0].content | strip }}",
        Profile(event_properties={"item_sku": "TRUCK-01"}),
        transport=Sockets(),
        credentials={},
        clock=time.time,
        sleep=time.sleep,
        cache=MemoryAnswers(time.time),
    )
    assert rendering.output.strip() == "Such a great toy truck, my kids really enjoy it!"


def test_the_contracts_example_is_the_answer_for_the_toy_truck(proxy: RunningProxy) -> None:
    answer = proxy.get("/v1/reviews", sku="TRUCK-01", limit=1)
    assert answer.json() == {
        "sku": "TRUCK-01",
        "found": True,
        "count": 1,
        "scope": "product",
        "summary": {
            "average": 4.7,
            "average_text": "4.7",
            "stars": 4.5,
            "stars_icons": "★★★★½",
            "stars_alt": "4.5 out of 5 stars",
            "stars_image": None,
            "total": 153,
            "total_text": "153",
            "distribution": {
                "five_stars": 120,
                "four_stars": 20,
                "three_stars": 8,
                "two_stars": 3,
                "one_star": 2,
            },
        },
        "reviews": [
            {
                "id": "670d5810ba62e6b31de97de9",
                "stars": 5,
                "stars_icons": "★★★★★",
                "source": "trustpilot",
                "content": "Such a great toy truck, my kids really enjoy it!",
                "truncated": False,
                "author": "Kevin Bob",
                "date": "2024-10-14",
                "date_text": "Oct 14, 2024",
                "created_at": "2024-10-14T17:42:40Z",
                "language": "en",
                "reply": None,
                "image": None,
                "attributes": [{"name": "Value for money", "rating": 4.0}],
            }
        ],
        "disclosure": "Showing our latest reviews",
        "links": {"trustpilot": None},
    }
    for header in ("X-Cache", "Age", "X-Request-Id", "Server-Timing"):
        assert header in answer.headers
    assert re.fullmatch(r"private, max-age=(89[0-9]|900)", answer.headers["Cache-Control"])


def test_a_block_of_products_is_exactly_the_answer_of_reviews(proxy: RunningProxy) -> None:
    both = proxy.get("/v1/products", skus="TRUCK-01,NEW-00,TRUCK-01").json()
    alone = [proxy.get("/v1/reviews", sku=sku).json() for sku in ("TRUCK-01", "NEW-00")]
    assert both == {"found": True, "count": 2, "products": alone}


def test_a_block_that_cannot_be_had_leaves_the_others(sandbox: RunningSandbox, proxy: RunningProxy) -> None:
    proxy.get("/v1/reviews", sku="MUG-01")
    sandbox.behave("fail")
    answer = proxy.get("/v1/products", skus="MUG-01,LAMP-01")
    assert answer.status_code == 200
    held, failed = answer.json()["products"]
    assert (held["found"], failed["found"]) == (True, False)
    assert "error" in failed
    assert proxy.get("/v1/products", skus="LAMP-02,LAMP-01").status_code == 503
    empty = proxy.get("/v1/products", skus="LAMP-02,LAMP-01", on_error="empty")
    assert (empty.status_code, empty.json()["found"], empty.json()["count"]) == (200, False, 2)
    assert empty.json()["error"] == empty.json()["products"][0]["error"]


def test_a_full_page_of_one_star_reviews_does_not_hide_the_five_stars(
    sandbox: RunningSandbox, proxy: RunningProxy
) -> None:
    answer = proxy.get("/v1/reviews", sku="BLENDER-450", stars=5)
    assert [review["stars"] for review in answer.json()["reviews"]] == [5, 5, 5]
    assert sandbox.calls()["reviews"] == 2
    assert proxy.get("/v1/reviews", sku="BLENDER-450", stars=5, limit=1).headers["X-Cache"] == "hit"


def test_the_newest_1000_reviews_can_be_paged_through_and_no_link_leads_further(
    sandbox: RunningSandbox, proxy: RunningProxy
) -> None:
    [sku] = sandbox.generate(1, 1020, "LONG-")
    path = f"/v1/product-reviews/business-units/{UNIT}/reviews"
    for page, shown, links in ((33, 30, 1), (34, 10, 0)):
        body = proxy.get(path, sku=sku, perPage=30, page=page).json()
        assert (len(body["productReviews"]), len(body["links"])) == (shown, links)
    assert proxy.get(path, sku=sku, perPage=30, page=35).status_code == 400


def test_each_page_of_trustpilots_shape_leads_to_the_next_and_the_last_to_none(shared_proxy: RunningProxy) -> None:
    seen: list[str] = []
    path = f"/v1/product-reviews/business-units/{UNIT}/reviews?sku=BLENDER-450&perPage=100"
    while path:
        page = shared_proxy.get(path).json()
        seen += [review["id"] for review in page["productReviews"]]
        path = "".join(link["href"] for link in page["links"])
    assert len(seen) == len(set(seen)) == 450


def test_hostile_text_is_inert_as_html_and_readable_as_text(shared_proxy: RunningProxy) -> None:
    html = shared_proxy.get("/v1/reviews", sku="HOSTILE-01", limit=20).json()["reviews"]
    assert not [review for review in html if set(review["content"] + review["author"]) & set("<>\"'{}")]
    plain = shared_proxy.get("/v1/reviews", sku="HOSTILE-01", limit=20, format="text").json()["reviews"]
    assert plain[0]["content"].startswith("<script>")


def test_drop_in_pages_show_each_review_of_one_moment_once_under_two_languages(
    sandbox: RunningSandbox, proxy: RunningProxy
) -> None:
    moment = {"createdAt": "2024-10-14T10:00:00Z", "stars": 5, "content": "Good"}
    reviews = [{"id": f"r{n:03d}", "language": "en" if n % 3 else "fr", **moment} for n in range(150)]
    sandbox.put_product("ONE-MOMENT", reviews)
    path = f"/v1/product-reviews/business-units/{UNIT}/reviews"
    shown: list[str] = []
    for page in range(1, 9):
        answer = proxy.get(path, sku="ONE-MOMENT", language="en,fr", perPage=20, page=page).json()
        shown += [review["id"] for review in answer["productReviews"]]
    assert sorted(shown) == [review["id"] for review in reviews]


def test_a_fragment_is_html_or_a_line_of_text_and_empty_where_there_is_nothing_or_an_error(
    sandbox: RunningSandbox, proxy: RunningProxy
) -> None:
    card = proxy.get("/v1/fragment", sku="TRUCK-01", on_error="empty")
    assert (card.status_code, card.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "Such a great toy truck" in card.text
    assert "X-Ignored-Parameters" not in card.headers
    assert proxy.get("/v1/fragment", sku="TRUCK-01", on_error="empty").headers["X-Cache"] == "hit"
    line = proxy.get("/v1/fragment", sku="TRUCK-01", style="line", channel="text", display_locale="de")
    assert line.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert line.text == "★★★★½ 4,7 (153 Bewertungen)"
    assert proxy.get("/v1/fragment", sku="TRUCK-01", style="block").status_code == 400
    sandbox.behave("fail")
    for sku in ("NEW-00", "LAMP-01"):
        nothing = proxy.get("/v1/fragment", sku=sku)
        assert (nothing.status_code, nothing.content) == (200, b"")


def test_the_picture_and_the_shops_page_come_by_themselves_with_one_call_each_and_keep_no_answer_waiting(
    sandbox: RunningSandbox,
) -> None:
    until = time.monotonic() + 30
    with RunningProxy(sandbox, TESTS_PICTURES="true") as proxy:
        while True:
            block = proxy.get("/v1/reviews", sku="TRUCK-01").json()
            if block["summary"]["stars_image"] and block["links"]["trustpilot"]:
                break
            assert time.monotonic() < until
            time.sleep(0.1)
        fragment = proxy.get("/v1/fragment", sku="TRUCK-01").text
    assert block["summary"]["stars_image"] == "https://images.trustpilot.example/star256x48/stars-4.5.png"
    assert block["links"]["trustpilot"] == "https://www.trustpilot.com/review/toy-trucks.example"
    assert block["links"]["trustpilot"] in fragment
    assert sandbox.asides() == {"star_images": 1, "business_unit": 1}
    assert sandbox.calls() == {"reviews": 1, "batch_summaries": 1}
