"""Reads JSON as untrusted input: what is not as documented never gets past this module and those who call it."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect as types

from proxy.reviews.models import LONGEST_LIST, LONGEST_TEXT
from proxy.trustpilot import Malformed

S = TypeVar("S", bound=msgspec.Struct)

REFUSED = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What msgspec raises for a value that is not of its type, a text too long, a lone surrogate, or no UTF-8."""

_ODD = object()
"""In the place of a value that is not of its field's type."""


def read_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object, nothing looser than JSON. Raises :class:`Malformed`."""
    with contextlib.suppress(*REFUSED):
        # Much the faster way. What it refuses is no JSON, or holds a lone surrogate.
        answer = msgspec.json.decode(body)
        if isinstance(answer, dict):
            return answer
    try:
        answer = json.loads(body, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_scrubbed)
    except (ValueError, RecursionError) as error:
        raise Malformed("what Trustpilot sent is not JSON") from error
    if not isinstance(answer, dict):
        raise Malformed("what Trustpilot sent is not a JSON object")
    return answer


def read_list(answer: dict[str, Any], name: str, what: str) -> list[Any]:
    """Return the list ``name`` of an answer. Raises :class:`Malformed` where there is none of ``what``."""
    listed = answer.get(name)
    if not isinstance(listed, list):
        raise Malformed(f"Trustpilot's answer holds no list of {what}")
    return listed


def value_of(raw: msgspec.Raw) -> object:
    """Return what ``raw`` says, ``None`` where that can't be read."""
    try:
        return msgspec.json.decode(raw)
    except REFUSED:
        with contextlib.suppress(Malformed):
            return read_object(bytes(raw))
    return None


def fitting(value: dict[str, Any], kind: type[S]) -> S:
    """Return of ``value`` what is of the types that ``kind`` has, its texts and lists bounded."""
    return msgspec.convert(_fitting(value, _type_info(kind)), kind)


_type_info = cache(types.type_info)


def _fitting(value: Any, kind: types.Type, *, wholly: bool = False) -> Any:
    """Return what of ``value`` is of ``kind``, or :data:`_ODD`.

    Fields that are not fit are left out of an object; ``wholly``: the object with them.
    """
    if isinstance(kind, types.UnionType):
        if value is None:
            return None if any(isinstance(one, types.NoneType) for one in kind.types) else _ODD
        kind = kind.types[0]
    if isinstance(kind, types.StructType):
        if not isinstance(value, dict):
            return _ODD
        given = {field.encode_name: field.type for field in kind.fields if field.encode_name in value}
        read = {name: _fitting(value[name], type_) for name, type_ in given.items()}
        fit = {name: one for name, one in read.items() if one is not _ODD}
        return _ODD if wholly and len(fit) < len(read) else fit
    if isinstance(kind, types.ListType):
        if not isinstance(value, list):
            return _ODD
        items = (_fitting(item, kind.item_type, wholly=True) for item in value[:LONGEST_LIST])
        return [item for item in items if item is not _ODD]
    if isinstance(kind, types.StrType):
        return value[:LONGEST_TEXT] if isinstance(value, str) else _ODD
    # A float holds no greater number, and msgspec reads none.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) <= sys.float_info.max else _ODD


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("a number is out of range")
    return number


def _scrubbed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Replace lone surrogates, which JSON can escape but UTF-8 cannot write."""
    return {_utf8(name): _in_utf8(value) for name, value in pairs}


def _in_utf8(value: Any) -> Any:
    if isinstance(value, str):
        return _utf8(value)
    # The objects in a list have been through here already.
    return [_in_utf8(item) for item in value] if isinstance(value, list) else value


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
