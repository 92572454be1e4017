"""Reviews nobody would want in an e-mail as they are, and reviews that are hardly reviews."""

from datetime import timedelta

from proxy.sandbox.attributes import VALUE_FOR_MONEY, attribute_rating
from proxy.sandbox.composing import NEWEST, photo, written_at

_HOSTILE_TEXTS = (
    "<script>alert('reviews')</script><img src=x onerror=alert(1)> \"Great\" <b>truck</b> & 'more'",
    "Hello {{ ${email_address} }} {{campaign.${name}}} {% abort_message('gotcha') %} {% raw %} {{ '{{' }}",
    "}} {%- comment -%} unfinished {{ tags {% if",
    "Family 👨‍👩‍👧‍👦 approved 👍🏽 from Wales 🏴󠁧󠁢󠁷󠁬󠁳󠁿 and France 🇫🇷 ❤️‍🔥",
    "منتج ممتاز (rated 5/5) و<b>سعره</b> مناسب",
    "\u202egnirts desrever A\u202c then \u2066isolated\u2069, \u200fmarks\u200e and \u061can Arabic one",
    "bell \u0007 null \u0000 escape \u001b[31mred\u001b[0m delete \u007f next line \u0085 form\ffeed\x0btab\t!",
    "a" * 5000,
    "A lone surrogate \ud800 in the middle and another at the end \udfff",
    "“Curly”, \"straight\", ‘single’, 'plain', `back`, «guillemets» and \\ \\u003cb\\u003e &lt;b&gt; &amp;amp;",
    "\ufeffOrder mark, zero\u200bwidth\u200cspaces\u200d, no\u00a0break, line\u2028 and paragraph\u2029 separators",
    "Z̸̢̛a̵̧͝l̷̨̛g̶̡̛o̵̢͠ says e\u0301 is é",
    "   \n\t \u3000 ",
    "--></style></title></textarea>${7*7} #{7*7} <%= 7*7 %> javascript:alert(1)",
    "SELECT * FROM reviews; DROP TABLE reviews; -- \r\nSet-Cookie: stolen=1\r\n\r\n<html>",
)
_HOSTILE_AUTHORS = (
    "<b>Bobby</b>",
    "{{ user }}",
    'O\'Neil "Nell"',
    "👩‍🚀",
    "\u202eniveK",
    "Anna\u0000",
    "x" * 300,
    "\ud83d",
)
_HOSTILE_FILES = [
    {"mimeType": "image/png", "dimension": "360pxWide", "url": "javascript:alert(1)"},
    {"mimeType": "image/svg+xml", "dimension": "720pxWide", "url": 'https://photos.example/"onload="alert(1)'},
]


def hostile_reviews() -> list[object]:
    """Return them newest first, all five stars, so that every template meets them."""
    return [
        {
            "id": f"670d0000badc0de0000000{number:02x}",
            "createdAt": written_at(NEWEST - timedelta(days=number)),
            "stars": 5,
            "content": text,
            "consumer": {"id": None, "displayName": _HOSTILE_AUTHORS[number % len(_HOSTILE_AUTHORS)]},
            "language": "ar" if text.startswith("م") else "en",
            "attributeRatings": [attribute_rating(VALUE_FOR_MONEY, 5.0) | {"attributeName": '<i>{{ value }}</i> "'}],
            "attachments": [photo("hostile") | {"processedFiles": _HOSTILE_FILES}] if number == 0 else [],
            "firstCompanyComment": {"comment": f"Thanks! {text[:80]}", "createdAt": written_at(NEWEST)},
        }
        for number, text in enumerate(_HOSTILE_TEXTS)
    ]


def sparse_reviews() -> list[object]:
    """Return reviews that lack what can be missing, and some that can't be taken for reviews; newest first."""
    sound: dict[str, object] = {"stars": 4, "createdAt": "2024-05-01T00:00:00Z"}
    odd_parts = {"attachments": [None, {"processedFiles": "x"}], "attributeRatings": [7, {}], "consumer": "Ada"}
    return [
        {"stars": 5, "createdAt": "2024-06-01T00:00:00Z", "content": "Only what is needed", "id": "sparse-1"},
        {**sound, **dict.fromkeys(("id", "content", "consumer", "language", "attributeRatings", "attachments"))},
        {**sound, "content": "Nobody said this", "consumer": {"displayName": None}, "firstCompanyComment": {}},
        {**sound, "content": "Odd parts", **odd_parts},
        {**sound, "stars": "5", "content": "stars as text"},
        {**sound, "stars": 9, "content": "nine stars"},
        {**sound, "stars": True, "content": "true stars"},
        {**sound, "content": 12},
        {"stars": 3, "content": "Without a date"},
        {**sound, "createdAt": "yesterday", "content": "no real date"},
        {**sound, "createdAt": 1728927760, "content": "a number for a date"},
        "not an object",
        None,
    ]
