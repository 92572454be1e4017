"""The three Liquid snippets of the partner page this product grew from, with only the host changed."""

import time
from urllib.parse import parse_qs, urlsplit

from proxy.preview.braze import MemoryAnswers, Profile, Rendering, render

from .endpoint import Endpoint, SocketTransport

TRUSTPILOT = "https://api.trustpilot.com"

TOKEN = """\
{% connected_content 
https://api.trustpilot.com/v1/oauth/oauth-business-users-for-applications/accesstoken
:method post
:headers {"Content-Type": "application/x-www-form-urlencoded", "Authorization": "Basic {{'API_KEY:API_SECRET' | base64_encode}}" }
:body grant_type=client_credentials
:save token
:retry
:cache_max_age 3600 %}

{{token.access_token}}
"""  # noqa: E501, W291 - character for character

REVIEWS = """\
{% connected_content https://api.trustpilot.com/v1/product-reviews/business-units/66ea0530xxxxxx/reviews?sku={{event_properties.${item_sku}}}&stars=5
   :method get
   :headers {"apikey": "xxxxx"}
   :content_type application/json :save result %}
"""

SAMPLE = """\
  {
   "productReviews": [
       {
           "id": "670d5810ba62e6b31de97de9",
           "createdAt": "2024-10-14T17:42:40.286Z",
           "stars": 5,
           "content": "Such a great toy truck, my kids really enjoy it! ",
           "consumer": {
               "id": "6176xxxx",
               "displayName": "Kevin Bob"
           },
           "language": "en",
           "attributeRatings": [],
           "attachments": [],
           "firstCompanyComment": null
       }
   ],
   "links": []
"""

TRUCK_EVENT = Profile(event_properties={"item_sku": "TRUCK-01"})


def rendered(template: str, endpoint: Endpoint) -> Rendering:
    return render(
        template.replace(TRUSTPILOT, endpoint.url),
        TRUCK_EVENT,
        transport=SocketTransport(),
        credentials={},
        clock=time.monotonic,
        sleep=time.sleep,
        cache=MemoryAnswers(time.monotonic),
    )


def test_the_token_snippet_posts_a_form_with_basic_authorization_and_keeps_the_token(
    endpoint: Endpoint,
) -> None:
    """Braze: Make a Connected Content call, "Using Open Authentication"."""
    path = "/v1/oauth/oauth-business-users-for-applications/accesstoken"
    endpoint.says(path, '{"access_token": "t-o-k-e-n", "expires_in": "359999"}')
    rendering = rendered(TOKEN, endpoint)
    assert rendering.output.strip() == "t-o-k-e-n"
    (received,) = endpoint.received
    assert (received.method, received.path) == ("POST", path)
    assert received.body == "grant_type=client_credentials"
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert received.headers["Authorization"] == "Basic QVBJX0tFWTpBUElfU0VDUkVU"
    (call,) = rendering.calls
    assert call.cached_seconds == 3600
    assert call.saved_as == "token"


def test_the_reviews_snippet_asks_for_the_events_sku_and_fills_its_variable(endpoint: Endpoint) -> None:
    """Braze: Make a Connected Content call, "Adding variables"."""
    path = "/v1/product-reviews/business-units/66ea0530xxxxxx/reviews"
    endpoint.says(path, SAMPLE + "}", content_type="application/json")
    rendering = rendered(REVIEWS + "{{result.productReviews[0].content}}", endpoint)
    assert rendering.output.strip() == "Such a great toy truck, my kids really enjoy it!"
    (received,) = endpoint.received
    assert received.method == "GET"
    assert parse_qs(urlsplit(received.path).query) == {"sku": ["TRUCK-01"], "stars": ["5"]}
    assert received.headers["apikey"] == "xxxxx"
    assert received.headers["Content-Type"] == received.headers["Accept"] == "application/json"


def test_the_sample_answer_is_text_and_stays_as_it_is(endpoint: Endpoint) -> None:
    """The page's third block is JSON in a Liquid fence; its braces are not Liquid."""
    rendering = rendered(SAMPLE, endpoint)
    assert rendering.output == SAMPLE
    assert rendering.calls == ()
