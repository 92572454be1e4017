"""A message previewed: its parts rendered, its calls, its mistakes, and what becomes of it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from proxy.preview.braze import (
    BasicCredential,
    Channel,
    Credentials,
    MemoryAnswers,
    Profile,
    TemplateError,
    TokenCredential,
    Transport,
    render,
)
from proxy.settings import Credential

_NAMED = re.compile(r":(basic_auth|auth_credentials)\s+([^\s:%{]+)")
_SEEN = re.compile(r"<(img|video|hr|table)\b", re.IGNORECASE)
_UNSEEN = re.compile(r"<(style|script|title|head)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>|&nbsp;", re.IGNORECASE | re.DOTALL)

_EMAIL_HEAD = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src https: data:; style-src 'unsafe-inline'\">"
    '<meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width">'
)


@dataclass(frozen=True)
class Message:
    """What is previewed. ``title`` is an e-mail's subject, a push's title or an in-app message's header."""

    channel: Channel
    body: str
    title: str = ""
    profile: Profile = field(default_factory=Profile)


@dataclass(frozen=True)
class Preview:
    """What became of a message.

    ``state`` is ``ready``, ``aborted``, ``blank`` or ``broken``; ``reason`` says why it is not ``ready``.
    ``calls`` and ``mistakes`` are those of the rendering as JSON objects, each with the ``part`` of the
    message (``title`` or ``body``) it belongs to.
    """

    state: str
    reason: str = ""
    title: str = ""
    body: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    mistakes: list[dict[str, Any]] = field(default_factory=list)

    def shown(self, channel: Channel) -> dict[str, Any]:
        """Return all of it as JSON, with the frame an e-mail is shown in and the lengths of other messages."""
        shown = asdict(self) | {"channel": channel.value}
        if channel is Channel.EMAIL:
            shown["frame"] = _EMAIL_HEAD + self.body
        elif channel is Channel.SMS:
            shown["length"] = sms_length(self.body.strip())
        else:
            shown["length"] = push_length(self.title.strip(), self.body.strip())
        return shown


def preview(message: Message, transport: Transport, caller: Credential) -> Preview:
    """Render ``message``; whatever stored credential a tag names, ``caller``'s own is shown in its place.

    The names are known to Braze only, so a wrong one can't be noticed here. Retries are made without Braze's
    waits between them.
    """
    # One for the whole message, as Braze's cache is shared by all its parts.
    cache = MemoryAnswers(time.monotonic)
    outputs: dict[str, str] = {}
    calls: list[dict[str, Any]] = []
    mistakes: list[dict[str, Any]] = []
    for part, template in _parts(message).items():
        try:
            rendering = render(
                template,
                message.profile,
                transport=transport,
                credentials=_credentials(template, caller),
                clock=time.monotonic,
                sleep=lambda _: None,
                cache=cache,
                # A subject is no HTML, and nothing else sets an e-mail apart.
                channel=None if part == "title" and message.channel.is_html else message.channel,
            )
        except TemplateError as error:
            mistakes.append({"part": part, "kind": "template", "line": error.line, "message": error.message})
            return Preview("broken", error.message, calls=calls, mistakes=mistakes)
        calls += [{"part": part, **asdict(call)} for call in rendering.calls]
        mistakes += [{"part": part, **asdict(mistake)} for mistake in rendering.mistakes]
        if rendering.aborted is not None:
            return Preview("aborted", rendering.aborted, calls=calls, mistakes=mistakes)
        outputs[part] = rendering.output
    state, reason = _state(message.channel, outputs["body"])
    return Preview(state, reason, outputs.get("title", ""), outputs["body"], calls, mistakes)


def _parts(message: Message) -> Mapping[str, str]:
    if message.channel is Channel.SMS or not message.title:
        return {"body": message.body}
    return {"title": message.title, "body": message.body}


def _credentials(template: str, caller: Credential) -> Credentials:
    stored: dict[str, BasicCredential | TokenCredential] = {}
    for option, name in _NAMED.findall(template):
        if option == "basic_auth":
            stored[name] = BasicCredential(caller.name, caller.secret)
        else:
            stored[name] = TokenCredential({"X-Api-Key": caller.secret})
    return stored


def _state(channel: Channel, body: str) -> tuple[str, str]:
    text = body
    if channel.is_html and not _SEEN.search(body):
        text = _UNSEEN.sub("", body)
    if text.strip():
        return "ready", ""
    return "blank", "Nothing is left of the message: every part of it rendered to nothing."


PROFILE_KINDS = tuple(field.name for field in fields(Profile))


class BadProfile(ValueError):
    """The JSON does not describe a profile; the message names the key."""


def profile(data: object) -> Profile:
    """Return the `Profile` whose fields are the keys of ``data``.

    Raises:
        BadProfile: not an object, an unknown key, or a value that is not an object.

    """
    if not isinstance(data, dict):
        raise BadProfile("the data must be a JSON object")
    for kind, values in data.items():
        if kind not in PROFILE_KINDS:
            raise BadProfile(f"{kind} is not known; the data takes {', '.join(PROFILE_KINDS)}")
        if not isinstance(values, dict):
            raise BadProfile(f'{kind} must be an object of names and values, such as {{"item_sku": "TRUCK-01"}}')
    for name, values in data.get("namespaces", {}).items():
        if not isinstance(values, dict):
            raise BadProfile(f"namespaces.{name} must be an object of names and values")
    return Profile(**data)


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
