"""docs/invitations.md: its snippets are rendered and sent as they are printed."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import requests

from proxy.preview.braze import BasicCredential, MemoryAnswers, Profile, render
from tests.api.test_reads import Sockets
from tests.running import SECRET, UNIT, RunningSandbox, served_here

PAGE = (Path(__file__).parents[1] / "docs" / "invitations.md").read_text()
BODY, LINK, TOKEN = re.findall(r"```liquid\n(.*?)```", PAGE, re.DOTALL)
HOST = "https://reviews.example.com"
ADA = Profile(
    attributes={"email_address": "ada@example.com", "first_name": 'Ada "The Countess"'},
    event_properties={"order_id": "order-1", "item_sku": "TRUCK-01"},
)


def rendered(template: str) -> str:
    rendering = render(
        template,
        ADA,
        transport=Sockets(),
        credentials={"reviews_proxy": BasicCredential("braze", SECRET)},
        clock=time.time,
        sleep=lambda _: None,
        cache=MemoryAnswers(time.time),
    )
    assert rendering.aborted is None
    return rendering.output


def test_the_webhooks_body_arrives_at_each_of_the_urls(sandbox: RunningSandbox) -> None:
    urls = [url.replace("{businessUnitId}", UNIT) for url in re.findall(rf"`{HOST}(/v1/\S*invitations)`", PAGE)]
    assert len(urls) == 2
    with served_here(sandbox) as proxy:
        answers = [
            requests.post(
                proxy.url + url,
                data=rendered(BODY).encode(),
                headers={"Content-Type": "application/json", "X-Api-Key": SECRET},
                timeout=10,
            )
            for url in urls
        ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    (arrived,) = sandbox.invitations()
    assert arrived["body"] == json.loads(rendered(BODY))
    assert arrived["body"]["consumerName"] == 'Ada "The Countess"'


def test_the_links_tag_renders_five_stars_that_lead_to_trustpilot(sandbox: RunningSandbox) -> None:
    with served_here(sandbox) as proxy:
        output = rendered(LINK.replace(HOST, proxy.url))
    links = re.findall(r'href="(https://products\.trustpilot\.example/[^"]+)">(★+)<', output)
    assert [(link.partition("?")[2], len(icons)) for link, icons in links] == [(f"stars={n}", n) for n in range(1, 6)]
    (arrived,) = sandbox.links()
    assert arrived["body"]["consumer"] == {"email": "ada@example.com", "name": 'Ada "The Countess"'}
    assert (arrived["body"]["referenceId"], arrived["body"]["products"]) == ("order-1", [{"sku": "TRUCK-01"}])


def test_the_token_snippet_renders_a_token(sandbox: RunningSandbox) -> None:
    with served_here(sandbox, TOKEN_ENDPOINT="true") as proxy:
        output = rendered(TOKEN.replace(HOST, proxy.url).replace("name:secret", f"braze:{SECRET}"))
    assert re.fullmatch(r"[0-9a-f]{32}", output.strip())


def test_the_check_command_is_the_one_that_is_tested() -> None:
    assert re.findall(r"^    (.*flask .*)$", PAGE, re.MULTILINE) == [".venv/bin/flask --app wsgi check"]
