"""What Braze puts into a message and a preview doesn't have: placeholders, unless the profile brings sample data."""

import html
import re
from collections.abc import Mapping

# Unicode noncharacters: they can't be part of anyone's text.
_OPEN, _CLOSE = "\ufdd4", "\ufdd5"
_MARKED = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")
_LEFT_OVER = re.compile(f"[{_OPEN}{_CLOSE}]")
_GREY = "background:#e5e7eb;color:#374151;border-radius:3px;padding:0 4px"

# Filters that put a text beside another; after any other a placeholder stays what it is.
JOINING = frozenset({"append", "prepend"})

# Read as ${name}, and set for everybody (Braze: Supported personalization tags; Custom email footer).
_ATTRIBUTES = {
    "braze_id": "the person's Braze ID",
    "email_footer": "the workspace's e-mail footer",
    "random_bucket_number": "the person's random bucket number",
    "set_user_to_opted_in_url": "the link to opt in",
    "set_user_to_subscribed_url": "the link to subscribe",
    "set_user_to_unsubscribed_url": "the link to unsubscribe",
    "unsubscribe_url": "the link to unsubscribe",
}
# Read as name.${key} (Braze: Supported personalization tags).
NAMESPACES = {
    "app": "the app",
    "campaign": "the campaign",
    "canvas": "the Canvas",
    "card": "the Content Card",
    "content_blocks": "the Content Blocks",
    "most_recently_used_device": "the person's latest device",
    "sms": "the person's SMS",
    "subscribed_state": "the person's subscriptions",
    "targeted_device": "the device that gets the message",
    "whats_app": "the person's WhatsApp message",
}
# Sample data for tags; no variables by themselves. Each is keyed by what the tag names first.
SAMPLES = frozenset({"catalog_items", "catalog_selection_items", "promotion", "shopping_cart"})


class Placeholder(str):
    """A text that says what Braze would put here; looked into, it says so of the part."""

    __slots__ = ("what",)
    what: str

    def __new__(cls, what: str) -> "Placeholder":
        """Return the text, marked so that `shown` finds it again."""
        made = super().__new__(cls, f"{_OPEN}{what}{_CLOSE}")
        made.what = what
        return made

    def part(self, key: object) -> "Placeholder | int":
        """Return what stands for a property or an item; there is one item of anything."""
        if key == "size":
            return 1
        if self.what == NAMESPACES["content_blocks"]:
            return Placeholder(f"the Content Block {key}")
        name = f"item {key + 1}" if isinstance(key, int) else str(key).replace("_", " ")
        return Placeholder(f"{name if isinstance(key, int) else f'the {name}'} of {self.what}")


def known(attributes: Mapping[str, object]) -> dict[str, object]:
    """Return a person's attributes with placeholders for those that Braze sets for everybody."""
    return {**{name: Placeholder(what) for name, what in _ATTRIBUTES.items()}, **attributes}


def namespaces(given: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Return the namespaces a template can read, with a placeholder for each of Braze's that is not given."""
    missing = {name: Placeholder(what) for name, what in NAMESPACES.items() if name not in given}
    return {**missing, **{name: values for name, values in given.items() if name not in SAMPLES}}


def shown(output: str, *, is_html: bool) -> str:
    """Return a finished message with its placeholders to look at: grey in HTML, in brackets elsewhere."""

    def one(match: re.Match[str]) -> str:
        inside_tag = output.rfind("<", 0, match.start()) > output.rfind(">", 0, match.start())
        if is_html and not inside_tag:
            return f'<span style="{_GREY}">{html.escape(match[1])}</span>'
        return f"[{html.escape(match[1]) if is_html else match[1]}]"

    return _LEFT_OVER.sub("", _MARKED.sub(one, output))


def unmarked(text: str) -> str:
    """Return a text with its placeholders in brackets."""
    return shown(text, is_html=False)


def placeholders(output: str) -> tuple[str, ...]:
    """Return what the placeholders of a message stand for, each once."""
    return tuple(dict.fromkeys(_MARKED.findall(output)))
