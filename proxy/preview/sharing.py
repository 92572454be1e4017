"""What keeps a message from being shared: a secret in it, or a person's own data beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from proxy.preview.checks import has_secret
from proxy.preview.message import PROFILE_KINDS, Message

_SECRET_NAME = re.compile(r"authorization|api[-_ ]?key|token|secret|passw", re.IGNORECASE)
_SECRET = re.compile(
    r"\b(?:Basic|Bearer)\s+[A-Za-z0-9+/_.=-]{8,}|\beyJ[\w-]{8,}\.[\w-]+|hmac_sha\d+:\s*['\"][^'\"]+|-----BEGIN\b"
    r"|[?&](?:api[-_]?key|(?:access_)?token|secret|password)=[\w%.~+/-]{8,}",
    re.IGNORECASE,
)
_PERSONAL_NAME = re.compile(r"e[-_]?mail|phone|birth|\bdob\b|address|last_name|user_id|braze_id", re.IGNORECASE)
_PERSONAL = re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}|\+\d[\d ()/-]{7,}\d", re.IGNORECASE)
_SHORTEST_SECRET = 6


def shareable(message: Message, own_secrets: Iterable[str]) -> dict[str, Any]:
    """Return why no link is made of ``message``, empty where one may be, and the values that a link leaves out.

    ``own_secrets`` are the proxy's; none of them may stand anywhere. ``personal`` names kinds and names of the data.
    """
    parts = {"subject or title": message.title, "preheader": message.preheader, "message": message.body}
    values = [(kind, name, value) for kind in PROFILE_KINDS for name, value in asdict(message.profile)[kind].items()]
    secrets = [one for one in own_secrets if len(one) >= _SHORTEST_SECRET]
    refused = ""
    for part, text in parts.items():
        if has_secret(text) or _SECRET.search(text) or any(one in text for one in secrets):
            refused = f"A secret stands in the {part}: store it in Braze and name it in the tag, then share."
    for _, name, value in values:
        text = _text(value)
        if _SECRET_NAME.search(name) or _SECRET.search(text) or any(one in text for one in secrets):
            refused = f"The value of {name} may be a secret: take it out, then share."
    personal = [
        [kind, name] for kind, name, value in values if _PERSONAL_NAME.search(name) or _PERSONAL.search(_text(value))
    ]
    return {"refused": refused, "personal": personal}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
