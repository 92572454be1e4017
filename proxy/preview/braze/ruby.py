"""Values as Ruby's Liquid treats them, which Braze runs; each part says where python-liquid differs.

`tests.preview.braze.test_ruby` puts the same templates to Ruby's Liquid and to this. What plain Liquid can't judge
is judged by Braze's documentation, and said there.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, localcontext

from liquid.builtin.expressions.primitive import Blank, Empty
from liquid.exceptions import LiquidTypeError
from liquid.undefined import Undefined

from proxy.preview.braze.dates import printed

_FLOAT = re.compile(r"-?\d+\.\d+")
_LEADING_INTEGER = re.compile(r"\s*([+-]?\d+(?:_\d+)*)")
_WHOLE = re.compile(r"\s*[+-]?\d+(?:_\d+)*\s*")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e", "\0": "\\0"}
# What Ruby's strip, and its split by a space, take for white space; Python's take Unicode's too.
SPACE = "\0\t\n\v\f\r "


class NoPropertyError(Exception):
    """The value has no properties at all, as a number with a fraction has none."""


def plain(value: object) -> object:
    """Return a value as a filter should see it: python-liquid hands on its own Undefined, `empty` and `blank`."""
    if isinstance(value, Undefined):
        return None
    if isinstance(value, (Empty, Blank)):
        return ""
    return list(value) if isinstance(value, tuple) else value


def truthy(value: object) -> bool:
    """Tell whether a condition takes a value for true: all but nil and false."""
    return plain(value) is not None and value is not False


def text(value: object) -> str:
    """Return a value's text: ``nil`` is empty, lists and objects print as Ruby writes them.

    python-liquid writes Python's ``None``, ``True``, ``{'a': 1}`` and ``1e+20``.
    """
    value = plain(value)
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() | Decimal():
            return _float(float(value))
        case datetime():
            return printed(value)
        case range():
            return f"{value.start}..{value.stop - 1}"
        case list() | Mapping():
            return inspect(value)
        case _:
            return str(value)


def output(value: object) -> str:
    """Return what ``{{ value }}`` puts into the message; a list is joined, however deep it is."""
    value = plain(value)
    return "".join(map(text, flat(value))) if isinstance(value, list) else text(value)


def inspect(value: object) -> str:
    """Return how Ruby writes a value inside a list or an object."""
    value = plain(value)
    match value:
        case None:
            return "nil"
        case str():
            return f'"{"".join(_ESCAPES.get(c, c) for c in value).replace("#{", chr(92) + "#{")}"'
        case list():
            return f"[{', '.join(map(inspect, value))}]"
        case Mapping():
            return f"{{{', '.join(f'{inspect(key)}=>{inspect(inside)}' for key, inside in value.items())}}}"
        case _:
            return text(value)


def flat(items: list[object]) -> Iterator[object]:
    """Yield the items of a list, and those of the lists in it."""
    for item in items:
        if isinstance(item, (list, tuple)):
            yield from flat(list(item))
        else:
            yield item


def items(value: object) -> list[object]:
    """Return what a filter for lists works on: python-liquid takes a text apart and an object for its keys."""
    match plain(value):
        case None:
            return []
        case list() as value:
            return list(flat(value))
        case range() as value:
            return list(value)
        case single:
            return [single]


def number(value: object) -> int | Decimal:
    """Return a value as a number: the number that a text starts with, and 0 for what is none.

    Fractions are decimal, so that ``0.1 | plus: 0.2`` is 0.3; python-liquid refuses booleans, and halves text.
    """
    match plain(value):
        case bool():
            return 0
        case int() as whole:
            return whole
        case float() as fraction:
            return Decimal(repr(fraction))
        case Decimal() as fraction:
            return fraction
        case str() as written:
            if _FLOAT.fullmatch(written.strip(SPACE)):
                return Decimal(written.strip(SPACE))
            leading = _LEADING_INTEGER.match(written)
            return int(leading[1]) if leading else 0
        case _:
            return 0


def integer(value: object) -> int:
    """Return a value as a whole number.

    Raises:
        ValueError: Ruby's ``Integer()`` refuses it, as it does nil and 1.0.

    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    written = text(value)
    if not _WHOLE.fullmatch(written):
        raise ValueError("invalid integer")
    return int(written)


def result(value: int | Decimal) -> int | float:
    """Return the result of arithmetic as Liquid hands it on."""
    return float(value) if isinstance(value, Decimal) else value


def modulo(left: int | Decimal, right: int | Decimal) -> int | Decimal:
    """Return the remainder with the sign of the divisor; Python's Decimal takes that of the dividend."""
    with localcontext(prec=60):
        return left - right * math.floor(left / Decimal(right)) if isinstance(left + right, Decimal) else left % right


def size(value: object) -> int | None:
    """Return a size; None for what has none. A whole number has the size of its machine word, as in Ruby."""
    match plain(value):
        case str() | list() | Mapping() | range() as sized:
            return len(sized)
        case bool():
            return None
        case int() as whole:
            return max(8, math.ceil(whole.bit_length() / 64) * 8)
        case _:
            return None


def part(item: object, key: object) -> object:
    """Return ``item[key]`` as the filters for lists ask for it.

    Raises:
        NoPropertyError: the item has no properties.
        TypeError: it has, but not by such a key.

    """
    match plain(item):
        case Mapping() as found:
            return found.get(key)
        case str() as written if isinstance(key, str):
            return key if key in written else None
        case None | bool() | float() | datetime():
            raise NoPropertyError
        case _:
            raise TypeError(f"cannot select the property '{text(key)}'")


def equal(left: object, right: object) -> bool:
    """Tell whether ``left == right``; python-liquid takes ``blank`` for less than Braze does.

    Braze: Conditional messaging logic, "Blank attribute values": not set, white space, or false. Ruby on Rails, which
    Braze runs, counts empty lists and objects too.
    """
    for literal, value in ((left, right), (right, left)):
        if isinstance(literal, (Empty, Blank)) and not isinstance(value, (Empty, Blank)):
            value = plain(value)
            if isinstance(literal, Empty):
                return isinstance(value, (str, list, Mapping)) and not value
            return value is None or value is False or is_blank(value)
    left, right = plain(left), plain(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def is_blank(value: object) -> bool:
    """Tell whether a text is white space only, or a list or an object empty."""
    return not value.strip() if isinstance(value, str) else isinstance(value, (list, Mapping)) and not value


def ordered(left: object, operator: str, right: object) -> bool:
    """Tell whether ``left < right`` and the like; what can't be compared is false, not an error, but for text.

    Raises:
        LiquidTypeError: a text is compared with a number, which Ruby refuses.

    """
    if isinstance(left, (Empty, Blank)) or isinstance(right, (Empty, Blank)):
        return False
    left, right = plain(left), plain(right)
    if (_is_number(left) and isinstance(right, str)) or (isinstance(left, str) and _is_number(right)):
        message = f"'{operator}' can't compare text with a number; assign the text with | plus: 0 first"
        raise LiquidTypeError(message, token=None)
    if not _same_kind(left, right):
        return False
    order = compared(left, right) or 0
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]


def compared(left: object, right: object) -> int | None:
    """Return -1, 0 or 1, or None when the two have no order (Ruby's ``<=>``)."""
    if _same_kind(left, right):
        return int(left > right) - int(left < right)  # type: ignore[operator]  # the kinds were just looked at
    return 0 if equal(left, right) else None


def contains(left: object, right: object) -> bool:
    """Tell whether ``left contains right``: a text in a text, an item in a list, a key in an object.

    python-liquid refuses numbers and what is not set on the left; Ruby says no.
    """
    left, right = plain(left), plain(right)
    if not truthy(left) or not truthy(right):
        return False
    match left:
        case str():
            return text(right) in left
        case list():
            return any(equal(item, right) for item in left)
        case Mapping():
            return isinstance(right, str) and right in left
        case range():
            return _is_number(right) and bool(left) and left[0] <= right <= left[-1]  # type: ignore[operator]  # a number, see before
        case _:
            return False


def _same_kind(left: object, right: object) -> bool:
    kinds = (str, datetime)
    return (_is_number(left) and _is_number(right)) or any(
        isinstance(left, kind) and isinstance(right, kind) for kind in kinds
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    _, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    power = len(digits) + int(exponent) - 1
    if not value or -5 < power < 15 or 0 < power < len(digits) - 1:
        return repr(value)
    first, *others = map(str, digits)
    return f"{'-' if value < 0 else ''}{first}.{''.join(others) or '0'}e{'-' if power < 0 else '+'}{abs(power):02d}"
