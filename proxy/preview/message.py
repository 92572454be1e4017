"""A message previewed: its parts rendered, its calls, its mistakes, and what becomes of it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from typing import Any

from proxy.preview import checks, doctor
from proxy.preview.braze import (
    BasicCredential,
    CallRecord,
    Channel,
    Credentials,
    MemoryAnswers,
    Profile,
    Rendering,
    TemplateBoundError,
    TemplateError,
    TokenCredential,
    Transport,
    is_boundless,
    render,
)
from proxy.preview.builder import HOST
from proxy.preview.calls import Part, examine_row, fixed, without_answer
from proxy.preview.findings import MOST_FINDINGS, Draft, Edit, Finding, applied, call_tags, distinct, finding_of
from proxy.preview.people import RECIPIENTS, CannedTransport, Recipient, profile_of
from proxy.settings import Credential

_NAMED = re.compile(r":(basic_auth|auth_credentials)\s+([^\s:%{]+)")
_SEEN = re.compile(r"<(img|video|hr|table)\b", re.IGNORECASE)
_UNSEEN = re.compile(
    rf"{checks.UNREAD.format('style|script|title')}|<[a-z/!?][^>]*(?:>|\Z)|&nbsp;", re.IGNORECASE | re.DOTALL
)

_EMAIL_HEAD = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src https: data:; style-src 'unsafe-inline'\">"
    '<meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width">'
)


@dataclass(frozen=True)
class Message:
    """What is previewed. ``title`` is an e-mail's subject, a push's title or an in-app message's header.

    Only an e-mail has a ``preheader``.
    """

    channel: Channel
    body: str
    title: str = ""
    profile: Profile = field(default_factory=Profile)
    preheader: str = ""


@dataclass(frozen=True)
class Preview:
    """What became of a message.

    ``state`` is ``ready``, ``aborted``, ``blank`` or ``broken``; ``reason`` says why it is not ``ready``.
    ``verdict`` is ``green`` when nothing looks wrong, ``yellow`` when Braze would send it but something does,
    ``red`` when it would not. ``calls`` and ``mistakes`` are JSON objects, each with the ``part`` of the message
    (``title``, ``preheader`` or ``body``) it belongs to; a mistake has its ``line``, ``kind`` and ``message``, and a
    ``fix`` with a ``label`` and ``edits`` of that part, or null. ``repaired`` holds the parts that have fixes with
    all of them made. ``empty`` is what came up empty and need not be wrong. ``people`` are the five of
    `proxy.preview.people`.
    """

    state: str
    verdict: str
    reason: str = ""
    title: str = ""
    preheader: str = ""
    body: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    mistakes: list[dict[str, Any]] = field(default_factory=list)
    empty: list[dict[str, Any]] = field(default_factory=list)
    repaired: dict[str, str] = field(default_factory=dict)
    people: list[dict[str, Any]] = field(default_factory=list)

    def shown(self, channel: Channel) -> dict[str, Any]:
        """Return all of it as JSON, with the frame an e-mail is shown in and the lengths of other messages."""
        shown = asdict(self) | {"channel": channel.value}
        if channel is Channel.EMAIL:
            shown["frame"] = in_frame(self.body)
        elif channel is Channel.SMS:
            shown["length"] = sms_length(self.body.strip())
        else:
            # Phones cut by lines, so there is no one limit.
            shown["length"] = {"title": len(self.title.strip()), "message": len(self.body.strip())}
        return shown


@dataclass
class _Looked:
    """One part of a message, looked at: what it became, or what can't be read in it."""

    template: str
    rendering: Rendering | None = None
    unreadable: str = ""
    findings: list[Finding] = field(default_factory=list)
    empty: list[dict[str, Any]] = field(default_factory=list)
    repaired: str = ""

    @property
    def calls(self) -> Sequence[CallRecord]:
        return self.rendering.calls if self.rendering else ()


def preview(message: Message, transport: Transport, caller: Credential, host: str = HOST) -> Preview:
    """Render ``message``; whatever stored credential a tag names, ``caller``'s own is shown in its place.

    The names are known to Braze only, so a wrong one can't be noticed here. Retries are made without Braze's
    waits between them. ``host`` is the address that fixes write into tags.
    """
    room = _Room(message, transport, caller, host)
    looked: dict[str, _Looked] = {}
    for part, template in _parts(message).items():
        looked[part] = room.look(part, template)
        rendering = looked[part].rendering
        if rendering is not None and rendering.aborted is not None:
            break
    people = [room.recipient(recipient) for recipient in RECIPIENTS]
    state, reason = _outcome(message.channel, looked)
    if state == "ready":
        room.look_at_all(looked, [findings for _, findings in people])
    elif state == "blank" and not looked["body"].findings:
        looked["body"].findings.append(checks.blank(message.body))
    mistakes = {part: distinct(one.findings) for part, one in looked.items()}
    found = [finding.shown(part) for part, findings in mistakes.items() for finding in findings]
    repaired = {}
    for part, one in looked.items():
        edits = [edit for finding in mistakes[part] for edit in finding.edits]
        repaired[part] = one.repaired if one.repaired != one.template else applied(one.template, edits)
    return Preview(
        state,
        "red" if state != "ready" else "yellow" if found else "green",
        reason,
        **_outputs(looked),
        calls=[{"part": part, **asdict(call)} for part, one in looked.items() for call in one.calls],
        mistakes=found,
        empty=[{"part": part, **empty} for part, one in looked.items() for empty in one.empty],
        repaired={part: text for part, text in repaired.items() if text != looked[part].template},
        people=[shown for shown, _ in people],
    )


@dataclass(frozen=True)
class _Room:
    """What all parts of one message, and the five who get it, have in common."""

    message: Message
    transport: Transport
    caller: Credential
    host: str
    # One for the whole message, as Braze's cache is shared by all its parts.
    cache: MemoryAnswers = field(default_factory=lambda: MemoryAnswers(time.monotonic))

    def look(self, part: str, template: str) -> _Looked:
        """Render a part and look at it; a part that can't be read is put right first, to see the rest of it."""
        draft = doctor.examine(template)
        looked = _Looked(template, repaired=draft.text, findings=list(draft.findings))
        try:
            looked.rendering = self._render(part, template, self.message.profile, self.transport, self.cache)
        except TemplateError as error:
            looked.unreadable = doctor.plain(error, template)
            if not looked.findings:
                looked.findings.append(doctor.unreadable(error, template))
            elif draft.text != template:
                looked.findings += self._behind(part, draft)
        else:
            found, looked.empty = self._of_rendering(part, template, looked.rendering, looked.findings)
            looked.findings += found
        return looked

    def _behind(self, part: str, draft: Draft) -> list[Finding]:
        """Return what is still wrong once the mistakes that hide it are mended; it can be mended after them."""
        try:
            rendering = self._render(part, draft.text, self.message.profile, self.transport, self.cache)
            found, _ = self._of_rendering(part, draft.text, rendering, [])
        except TemplateError as error:
            found = [doctor.unreadable(error, draft.text)]
        # Once it can be read more may be empty than is sure now; a nearest name is sure.
        sure = [one for one in found if one.kind != "came-up-empty" or one.edits]
        return [Finding(one.kind, draft.line_of_line(one.line), one.message) for one in sure]

    def _of_rendering(
        self, part: str, template: str, rendering: Rendering, before: list[Finding]
    ) -> tuple[list[Finding], list[dict[str, Any]]]:
        unfilled, rest = checks.examine_empties(template, rendering)
        found = [fixed(one, template, self.host) for one in rendering.mistakes]
        found += [*checks.examine(self._part(part, template, rendering)), *unfilled]
        # The doctor's word for a call goes further than what came of it.
        known = {(one.line, one.kind) for one in before}
        known |= {(one.line, "url-characters") for one in before if one.kind == "address"}
        known |= {(one.line, "not-escaped") for one in found if one.kind == "url-characters"}
        named = {one.line for one in found if one.kind == "secret"}
        # Where a stored credential takes a secret's place, the refusal needs no second one.
        found = [replace(one, edits=()) if one.kind == "problem" and one.line in named else one for one in found]
        return [one for one in found if (one.line, one.kind) not in known], rest

    def _part(self, part: str, template: str, rendering: Rendering) -> Part:
        is_html = part == "body" and self.message.channel.is_html
        return Part(template, rendering.output, rendering.calls, self.message.channel, is_html)

    def look_at_all(self, looked: dict[str, _Looked], of_people: Iterable[dict[str, list[Finding]]]) -> None:
        """Look at what only the parts together, or the five people, bring to light."""
        rendered = {name: one.rendering for name, one in looked.items() if one.rendering}
        parts = [(name, self._part(name, looked[name].template, one)) for name, one in rendered.items()]
        for name, finding in examine_row(parts):
            looked[name].findings.append(finding)
        if "title" in rendered and not rendered["title"].output.strip():
            looked["title"].findings.append(finding_of("", "blank-title", at=0))
        self._across_parts(looked)
        for one in of_people:
            for part, findings in one.items():
                known = {(finding.line, finding.kind) for finding in looked[part].findings}
                looked[part].findings += [f for f in findings if (f.line, f.kind) not in known]

    def _across_parts(self, looked: dict[str, _Looked]) -> None:
        """Tell of an answer that another part of the message has saved: each part is rendered by itself."""
        for name, one in looked.items():
            for at, finding in enumerate(one.findings):
                root = re.match(r"nothing is called (\w+)", finding.message)
                if root is None or finding.kind != "came-up-empty":
                    continue
                others = [other.template for other in looked.values() if other is not one]
                calls = ((text, tag) for text in others for tag in call_tags(text) if tag.variable == root[1])
                for text, tag in islice(calls, 1):
                    one.findings[at] = finding_of(
                        one.template,
                        "came-up-empty/other-part",
                        Edit(0, 0, text[tag.start : tag.end]),
                        line=finding.line,
                        variable=tag.variable,
                        part=_PART_NAMES[name],
                    )

    def recipient(self, recipient: Recipient) -> tuple[dict[str, Any], dict[str, list[Finding]]]:
        """Return what one of the five gets, as JSON, and what that brings to light of each part of the message."""
        parts = _parts(self.message)
        given = profile_of(recipient, self.message.profile, list(parts.values()))
        transport, cache = CannedTransport(recipient.answer), MemoryAnswers(time.monotonic)
        looked: dict[str, _Looked] = {}
        for part, template in parts.items():
            looked[part] = one = _Looked(template)
            try:
                one.rendering = self._render(part, template, given, transport, cache)
            except TemplateError as error:
                one.unreadable = doctor.plain(error, template)
                continue
            if one.rendering.aborted is not None:
                break
            found, rest = checks.examine_empties(template, one.rendering)
            whole = self._part(part, template, one.rendering)
            one.findings = [*(islice(checks.links(whole), MOST_FINDINGS) if whole.is_html else ()), *found]
            if recipient.answer == "down" and any(empty["kind"] == "output" for empty in rest):
                one.findings += without_answer(template, one.rendering.calls)
        state, reason = _outcome(self.message.channel, looked)
        outputs = _outputs(looked)
        notes = {part: one.findings for part, one in looked.items()}
        shown = {
            "name": recipient.name,
            "label": recipient.label,
            "about": recipient.about,
            "state": state,
            "verdict": "yellow" if state == "ready" and any(notes.values()) else _VERDICTS.get(state, "red"),
            "reason": reason or next((finding.message for found in notes.values() for finding in found), ""),
            **outputs,
        }
        if self.message.channel.is_html:
            shown["frame"] = in_frame(outputs["body"])
        return shown, {part: self._of_all(recipient, found) for part, found in notes.items()}

    def _of_all(self, recipient: Recipient, findings: list[Finding]) -> list[Finding]:
        """Return what one of the five would see that is the message's own mistake."""
        reached = {"email": "email_address", "sms": "phone_number"}.get(self.message.channel.value, "")
        everybody = f"\\$\\{{(?:user_id|{reached})\\}} is not set"
        kept = []
        for one in findings:
            is_own, message = True, one.message.replace("is not set for this person", "is not set for everybody")
            if one.kind == "came-up-empty" and recipient.is_known:
                is_own = bool(one.edits) and recipient.answer != "full"
                message = f"For “{recipient.label}”: {message}"
            elif one.kind == "came-up-empty":
                is_own = "for this person" in one.message and not re.match(everybody, one.message)
            if is_own:
                kept.append(replace(one, message=message))
        return kept

    def _render(
        self, part: str, template: str, given: Profile, transport: Transport, cache: MemoryAnswers
    ) -> Rendering:
        if is_boundless(template):
            raise TemplateBoundError("too much is opened in the template and never closed", 1)
        own: Credentials = {
            "basic_auth": BasicCredential(self.caller.name, self.caller.secret),
            "auth_credentials": TokenCredential({"X-Api-Key": self.caller.secret}),
        }
        return render(
            template,
            given,
            transport=transport,
            credentials={name: own[option] for option, name in _NAMED.findall(template)},
            clock=time.monotonic,
            sleep=lambda _: None,
            cache=cache,
            # Subject and preheader are no HTML, and nothing else sets an e-mail apart.
            channel=None if part != "body" and self.message.channel.is_html else self.message.channel,
        )


_PART_NAMES = {"title": "subject or title", "preheader": "preheader", "body": "body"}
_VERDICTS = {"ready": "green", "aborted": "yellow"}


def in_frame(body: str) -> str:
    """Return an e-mail's HTML with a head that lets it load pictures and styles, and nothing else."""
    return _EMAIL_HEAD + body


def _outputs(looked: Mapping[str, _Looked]) -> dict[str, str]:
    """Return what the title, the preheader and the body became; empty where a message has none."""
    became = {part: one.rendering.output for part, one in looked.items() if one.rendering}
    return dict.fromkeys(("title", "preheader", "body"), "") | became


def _outcome(channel: Channel, looked: Mapping[str, _Looked]) -> tuple[str, str]:
    for one in looked.values():
        if one.rendering is None:
            return "broken", one.unreadable
        if one.rendering.aborted is not None:
            return "aborted", one.rendering.aborted
    body = _outputs(looked)["body"]
    seen = _UNSEEN.sub("", body) if channel.is_html and not _SEEN.search(body) else body
    if seen.strip():
        return "ready", ""
    return "blank", "Nothing is left of the message: every part of it rendered to nothing."


def _parts(message: Message) -> Mapping[str, str]:
    title = "" if message.channel is Channel.SMS else message.title
    preheader = message.preheader if message.channel is Channel.EMAIL else ""
    return {name: text for name, text in (("title", title), ("preheader", preheader)) if text} | {
        "body": message.body
    }


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
