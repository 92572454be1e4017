"""Draws docs/mail.png for the README: a mail with the block of ``/v1/fragment`` in it: ``python -m tools.picture``.

The block is the proxy's own answer; the mail around it is what a shop would write.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser import CHROMIUM
from tests.running import RunningProxy, RunningSandbox

FILE = Path(__file__).parents[1] / "docs/mail.png"
_WIDTH = 620
_MAIL = """<!doctype html><meta charset="utf-8">
<style>
body { margin: 0; padding: 18px; background: #e9edf2; font-family: Arial, sans-serif }
main { background: #fff; border: 1px solid #d9e2ec; padding: 22px; color: #1f2933; font-size: 15px }
small { font-size: 13px; color: #52606d }
h1 { font-size: 19px; margin: 2px 0 14px }
.button { display: inline-block; background: #1d6f42; color: #fff; padding: 10px 18px; border-radius: 6px }
</style>
<main><small>From: Toy Shop &lt;hello@shop.example&gt;</small><h1>You left a red truck in your basket</h1>
<p>Hello Ada, it is still here. This is what others say about it:</p>
FRAGMENT
<p><b class="button">Back to the basket</b></p></main>"""


def fragment() -> str:
    """Return the block that the proxy answers."""
    with RunningSandbox() as sandbox, RunningProxy(sandbox) as proxy:
        answer = proxy.get("/v1/fragment", sku="TRUCK-01", limit=2)
        answer.encoding = "utf-8"
        return answer.text


def main() -> None:
    """Write the picture."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": _WIDTH, "height": 200})
        page.set_content(_MAIL.replace("FRAGMENT", fragment()))
        page.screenshot(path=FILE, full_page=True)
        chromium.close()


if __name__ == "__main__":
    main()
