"""How long a message is, in the units its channel counts."""

from __future__ import annotations

from typing import Any

# The alphabet of GSM 03.38; its second line counts double.
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_DOUBLE = frozenset("^{}\\[~]|€\f")


def sms_length(text: str) -> dict[str, Any]:
    """Return ``characters``, ``segments``, ``encoding`` and ``outside``, what keeps a text from being GSM-7.

    160 characters of GSM-7 or 70 of UCS-2 fit one segment, 153 or 67 each of several (Braze: Message copy
    segments).
    """
    outside = "".join(dict.fromkeys(c for c in text if c not in _GSM and c not in _GSM_DOUBLE))
    if outside:
        units, alone, each = len(text.encode("utf-16-le", "replace")) // 2, 70, 67
    else:
        units, alone, each = len(text) + sum(c in _GSM_DOUBLE for c in text), 160, 153
    segments = 0 if not text else 1 if units <= alone else -(-units // each)
    encoding = "UCS-2" if outside else "GSM-7"
    return {"characters": units, "segments": segments, "encoding": encoding, "outside": outside[:20]}


def push_length(title: str, message: str) -> dict[str, Any]:
    """Return the characters of both parts; phones cut by lines, so there is no one limit."""
    return {"title": len(title), "message": len(message)}
