"""The filters: those of Liquid itself, as Ruby has them, and Braze's own; and how much one rendering may use.

python-liquid's own are not used: nearly each of them refuses values, or prints them, in another way than Ruby's.
Values arrive as `ruby.plain` leaves them; a variable that is not set is None.
"""

import base64
import functools
import hashlib
import hmac
import html
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from inspect import signature
from urllib.parse import quote, quote_plus, unquote_to_bytes

from liquid.exceptions import FilterError, LiquidError
from liquid.token import Token

from proxy.preview.braze import ruby
from proxy.preview.braze.empties import JOINING, Placeholder
from proxy.preview.braze.markup import BoundReachedError
from proxy.preview.braze.ruby import Now, flat, in_zone, integer, plain, read_date, strftime, text

Filter = Callable[..., object]

_LINE_END = re.compile(r"\r?\n")
_WORD = re.compile(rf"[^{re.escape(ruby.SPACE)}]+")
_UNESCAPED = re.compile(r"[\"'<>]|&(?!(?:[a-zA-Z]+|#\d+);)")
_HTML_BLOCKS = re.compile(r"<script.*?</script>|<!--.*?-->|<style.*?</style>", re.DOTALL)
_HTML_TAG = re.compile(r"<.*?>", re.DOTALL)
_PRECISION = 60


_FLOAT = re.compile(r"-?\d+\.\d+")
_LEADING_INTEGER = re.compile(r"\s*([+-]?\d+(?:_\d+)*)")


class NoPropertyError(Exception):
    """The value has no properties at all, as a number with a fraction has none."""


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
            if _FLOAT.fullmatch(written.strip(ruby.SPACE)):
                return Decimal(written.strip(ruby.SPACE))
            leading = _LEADING_INTEGER.match(written)
            return int(leading[1]) if leading else 0
        case _:
            return 0


def result(value: int | Decimal) -> int | float:
    """Return the result of arithmetic as Liquid hands it on."""
    return float(value) if isinstance(value, Decimal) else value


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


def of_text(function: Callable[[str], str]) -> Filter:
    """Return a filter that works on a value's text."""
    return lambda value: function(text(value))


def _unless_nil(function: Callable[[str], str]) -> Filter:
    return lambda value: None if value is None else function(text(value))


def _escape(value: str) -> str:
    return html.escape(value).replace("&#x27;", "&#39;")


def _replace_last(value: object, old: object, new: object) -> str:
    before, found, after = text(value).rpartition(text(old)) if text(old) else (text(value), "", "")
    return before + text(new) + after if found or not text(old) else after


def _slice(value: object, offset: object, length: object = None) -> object:
    start, count = integer(offset), 1 if length is None else integer(length)
    whole = value if isinstance(value, list) else text(value)
    start = start + len(whole) if start < 0 else start
    return whole[start : start + count] if 0 <= start <= len(whole) and count >= 0 else whole[:0]


def _split(value: object, by: object) -> list[str]:
    whole, separator = text(value), text(by)
    parts = _WORD.findall(whole) if separator == " " else whole.split(separator) if separator else list(whole)
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _truncate(value: object, length: object = 50, end: object = "...") -> str | None:
    if value is None:
        return None
    whole, most = text(value), integer(length)
    return whole if len(whole) <= most else whole[: max(most - len(text(end)), 0)] + text(end)


def _truncatewords(value: object, words: object = 15, end: object = "...") -> str | None:
    if value is None:
        return None
    whole, most = text(value), max(integer(words), 1)
    found = _WORD.findall(whole)
    return whole if len(found) <= most else " ".join(found[:most]) + text(end)


# Numbers


def _arithmetic(function: Callable[[int | Decimal, int | Decimal], int | Decimal]) -> Filter:
    def calculate(value: object, operand: object) -> int | float:
        with localcontext(prec=_PRECISION):
            return result(function(number(value), number(operand)))

    return calculate


def _divided(left: int | Decimal, right: int | Decimal) -> int | Decimal:
    if isinstance(left, int) and isinstance(right, int):
        if right == 0:
            raise ZeroDivisionError("divided by 0")
        return left // right
    # A fraction by nothing is Infinity in Ruby, and the message goes out with that word.
    return (
        Decimal(left) / Decimal(right)
        if right
        else Decimal("NaN")
        if not left
        else Decimal("Infinity").copy_sign(left)
    )


def _modulo(left: int | Decimal, right: int | Decimal) -> int | Decimal:
    """Return the remainder with the sign of the divisor; Python's Decimal takes that of the dividend."""
    if right == 0:
        raise ZeroDivisionError("divided by 0")
    return left - right * math.floor(left / Decimal(right)) if isinstance(left + right, Decimal) else left % right


def _abs(value: object) -> int | float:
    exact = number(value)
    return result(-exact if exact < 0 else exact)


def _round(value: object, digits: object = 0) -> int | float:
    """Round half away from zero; python-liquid rounds half to even."""
    places, exact = int(number(digits)), number(value)
    if isinstance(exact, int) and places > 0:
        return exact
    with localcontext(prec=_PRECISION):
        rounded = Decimal(exact).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return float(rounded) if places > 0 else int(rounded)


# Lists


def _concat(value: object, added: object) -> list[object]:
    if not isinstance(added, list):
        raise TypeError("concat takes a list")
    return items(value) + added


def _first(value: object) -> object:
    match value:
        case Mapping():
            return next(map(list, value.items()), None)
        case list() | range() if value:
            return value[0]
        case _:
            return None


def _map(value: object, key: object) -> list[object]:
    def found(item: object) -> object:
        try:
            return part(item, key)
        except NoPropertyError:
            return None

    return [found(item) for item in items(value)]


def _keyed(select: Callable[[list[object], list[object]], list[object]]) -> Filter:
    """Return a filter that asks each item for a property; where one has none at all it comes to nothing."""

    def filtered(value: object, key: object = None) -> object:
        whole = items(value)
        if key is None:
            return select(whole, whole)
        try:
            return select(whole, [part(item, key) for item in whole])
        except NoPropertyError:
            return whole if select is _unique and len(whole) == 1 else None
        except TypeError:
            # Ruby asks nothing of an item that stands alone.
            if len(whole) > 1:
                raise
            return whole

    return filtered


def _where(value: object, key: object, wanted: object = None) -> object:
    try:
        found = [(item, part(item, key)) for item in items(value)]
    except NoPropertyError:
        return None
    return [item for item, has in found if (ruby.truthy(has) if wanted is None else ruby.equal(has, wanted))]


def _sorted(order: Callable[[object, object], int]) -> Callable[[list[object], list[object]], list[object]]:
    by_key = functools.cmp_to_key(order)

    def select(whole: list[object], keys: list[object]) -> list[object]:
        return [whole[at] for at in sorted(range(len(whole)), key=lambda at: by_key(keys[at]))]

    return select


def _order(left: object, right: object) -> int:
    order = ruby.compared(left, right)
    if order is None and left is not None and right is not None:
        raise TypeError("cannot sort values of incompatible types")
    return order if order is not None else 1 if left is None else -1


def _natural_order(left: object, right: object) -> int:
    if left is None or right is None:
        return 1 if left is None else -1
    # Ruby's casecmp knows the case of ASCII letters only.
    first, second = (re.sub("[A-Z]+", lambda m: m[0].lower(), text(side)) for side in (left, right))
    return (first > second) - (first < second)


def _unique(whole: list[object], keys: list[object]) -> list[object]:
    # By how Ruby writes them: 1, 1.0, "1" and true are four things.
    first = {ruby.inspect(key): at for at, key in reversed(list(enumerate(keys)))}
    return [whole[at] for at in sorted(first.values())]


def _compact(whole: list[object], keys: list[object]) -> list[object]:
    return [item for item, key in zip(whole, keys, strict=True) if key is not None]


def _default(value: object, fallback: object = "", *, allow_false: object = False) -> object:
    nothing = value is None or (value is False and not ruby.truthy(allow_false))
    return fallback if nothing or (isinstance(value, (str, list, Mapping)) and not value) else value


STANDARD: Mapping[str, Filter] = {
    "abs": _abs,
    "append": lambda value, added: text(value) + text(added),
    "at_least": _arithmetic(max),
    "at_most": _arithmetic(min),
    "base64_decode": of_text(lambda value: base64.b64decode(value, validate=True).decode()),
    "base64_encode": of_text(lambda value: base64.b64encode(value.encode()).decode()),
    "capitalize": of_text(str.capitalize),
    "ceil": lambda value: math.ceil(number(value)),
    "compact": _keyed(_compact),
    "concat": _concat,
    "default": _default,
    "divided_by": _arithmetic(_divided),
    "downcase": of_text(str.lower),
    "escape": _unless_nil(_escape),
    "escape_once": of_text(lambda value: _UNESCAPED.sub(lambda found: _escape(found[0]), value)),
    "first": _first,
    "floor": lambda value: math.floor(number(value)),
    "h": _unless_nil(_escape),
    "join": lambda value, glue=" ": text(glue).join(map(text, items(value))),
    "last": lambda value: value[-1] if isinstance(value, (list, range)) and value else None,
    "map": _map,
    "minus": _arithmetic(lambda left, right: left - right),
    "modulo": _arithmetic(_modulo),
    "newline_to_br": of_text(lambda value: _LINE_END.sub("<br />\n", value)),
    "plus": _arithmetic(lambda left, right: left + right),
    "prepend": lambda value, added: text(added) + text(value),
    "remove": lambda value, old: text(value).replace(text(old), ""),
    "remove_first": lambda value, old: text(value).replace(text(old), "", 1),
    "remove_last": lambda value, old: _replace_last(value, old, ""),
    "replace": lambda value, old, new="": text(value).replace(text(old), text(new)),
    "replace_first": lambda value, old, new="": text(value).replace(text(old), text(new), 1),
    "replace_last": _replace_last,
    "reverse": lambda value: items(value)[::-1],
    "round": _round,
    "size": lambda value: ruby.size(value) or 0,
    "slice": _slice,
    "sort": _keyed(_sorted(_order)),
    "sort_natural": _keyed(_sorted(_natural_order)),
    "split": _split,
    "strip": of_text(lambda value: value.strip(ruby.SPACE)),
    "strip_html": of_text(lambda value: _HTML_TAG.sub("", _HTML_BLOCKS.sub("", value))),
    "strip_newlines": of_text(lambda value: _LINE_END.sub("", value)),
    "times": _arithmetic(lambda left, right: left * right),
    "truncate": _truncate,
    "truncatewords": _truncatewords,
    "uniq": _keyed(_unique),
    "upcase": of_text(str.upper),
    "url_decode": _unless_nil(lambda value: unquote_to_bytes(value.replace("+", " ")).decode()),
    "url_encode": _unless_nil(quote_plus),
    "where": _where,
}


# ---- Braze's own

_RESERVED_IN_URLS = ";/?:@&=+$,[]!*'()"


def filters(now: Now) -> dict[str, Filter]:
    """Return every filter of Braze's by its name; ``now`` tells the time for ``'now' | date``."""
    return {**STANDARD, **_BRAZES, "date": functools.partial(_date, now), "time_zone": functools.partial(_zone, now)}


def _date(now: Now, value: object, layout: object) -> object:
    moment = read_date(value, now) if text(layout) else None
    return value if moment is None else strftime(moment, text(layout))


def _zone(now: Now, value: object, zone: object) -> datetime | None:
    """Return the moment in another zone, for ``date`` to write (Braze: Filters, "Time zone filter")."""
    moment = read_date(value, now)
    return None if moment is None else in_zone(moment, zone)


def _number_with_delimiter(value: str) -> str:
    whole, point, fraction = value.partition(".")
    return f"{int(whole):,}{point}{fraction}" if whole.lstrip("-").isdecimal() else value


def _money(value: object) -> object:
    """Return a number with two decimals and no currency; text stays, as Braze wants ``plus: 0`` before (Filters)."""
    return f"{value:.2f}" if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) else value


def _hash(algorithm: str) -> Filter:
    return lambda value: hashlib.new(algorithm, text(value).encode(), usedforsecurity=False).hexdigest()


def _signature(algorithm: str, *, as_base64: bool = False) -> Filter:
    def sign(value: object, key: object) -> str:
        digest = hmac.digest(text(key).encode(), text(value).encode(), algorithm)
        return base64.b64encode(digest).decode() if as_base64 else digest.hex()

    return sign


_BRAZES: Mapping[str, Filter] = {
    "as_json_string": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=text),
    "hmac_sha1": _signature("sha1"),  # its former name
    "hmac_sha1_base64": _signature("sha1", as_base64=True),
    "hmac_sha1_hex": _signature("sha1"),
    "hmac_sha256": _signature("sha256"),
    "hmac_sha256_base64": _signature("sha256", as_base64=True),
    "hmac_sha256_hex": _signature("sha256"),
    "hmac_sha512": _signature("sha512"),
    "id": lambda value, _name=None: value,  # Braze writes it behind a Content Block; it changes nothing
    "json_escape": of_text(lambda value: json.dumps(value, ensure_ascii=False)[1:-1]),
    "json_parse": lambda value: json.loads(value) if isinstance(value, str) and value.strip() else value,
    "md5": _hash("md5"),
    "money": _money,
    "number_with_delimiter": of_text(_number_with_delimiter),
    "property_accessor": lambda value, key=None: value.get(key) if isinstance(value, Mapping) else None,
    "sha1": _hash("sha1"),
    "sha2": _hash("sha256"),
    "url_escape": of_text(lambda value: quote(value, safe=_RESERVED_IN_URLS)),
    "url_param_escape": of_text(lambda value: quote(value, safe="")),
}

FILTERS = tuple(sorted({*STANDARD, *_BRAZES, "date", "time_zone"}))
"""The names of all of them."""

# ---- What one rendering may use

# The library bounds output, variables and nested loops. It does not add up loops that follow each other, and it lets
# one filter make a gigabyte out of a kilobyte; both are counted here.
LOOP_ITERATIONS = 20_000
FILTER_CALLS = 20_000
FILTER_TEXT_CHARACTERS = 262_144
FILTER_ITEMS = 10_000
FILTER_NUMBER_BITS = 4_096
FILTER_WORK = 4_000_000
FILTER_INPUT = 8_000_000


@dataclass(slots=True)
class Allowance:
    """Counts down what is left for one rendering; raises `BoundReachedError` when nothing is."""

    iterations: int = LOOP_ITERATIONS
    filter_calls: int = FILTER_CALLS
    filter_input: int = FILTER_INPUT

    def spend_iterations(self, count: int) -> None:
        self.iterations -= count
        if self.iterations < 0:
            raise BoundReachedError(f"more than {LOOP_ITERATIONS} turns of loops", token=None)

    def guarded(self, name: str, function: Filter, token: Token | None) -> Filter:
        """Return the filter with its inputs measured first, its failures as Liquid errors, and placeholders kept."""

        def guard(*given: object, **named: object) -> object:
            values = tuple(map(ruby.plain, given))
            self.filter_calls -= 1
            if self.filter_calls < 0:
                raise BoundReachedError(f"more than {FILTER_CALLS} filters applied", token=token)
            if any(map(_too_large, (*values, *named.values()))) or _work(name, values) > FILTER_WORK:
                raise BoundReachedError(f"the filter '{name}' is given too much to work on", token=token)
            self.filter_input -= sum(map(_size, values))
            if self.filter_input < 0:
                raise BoundReachedError("the filters together are given too much to work on", token=token)
            placeholder = next((value for value in values if isinstance(value, Placeholder)), None)
            if placeholder is not None and name not in JOINING:
                return placeholder
            try:
                return function(*values, **named)
            except LiquidError:
                raise
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as err:
                fits = _takes(function, values, named)
                because = f"can't use that value: {err}" if fits else "is given too few or too many values"
                raise FilterError(f"the filter '{name}' {because}", token=token) from err

        return guard


def _takes(function: Filter, values: tuple[object, ...], named: Mapping[str, object]) -> bool:
    try:
        signature(function).bind(*values, **named)
    except TypeError:
        return False
    return True


def _too_large(value: object) -> bool:
    if isinstance(value, str):
        return len(value) > FILTER_TEXT_CHARACTERS
    if isinstance(value, int):
        return value.bit_length() > FILTER_NUMBER_BITS
    if isinstance(value, range):
        # len() of a range can overflow, so its ends are compared.
        return value.stop - value.start > FILTER_ITEMS
    if isinstance(value, (list, tuple, Mapping)):
        return len(value) > FILTER_ITEMS
    return False


def _size(value: object) -> int:
    """Return a rough size of what a filter reads; an item of a list takes as long as some twenty characters."""
    if isinstance(value, str):
        return len(value)
    return 20 * len(value) if isinstance(value, (list, tuple, Mapping)) else 0


def _work(name: str, values: tuple[object, ...]) -> int:
    """Return a rough size of what a filter would produce or compare; only those that multiply have one."""
    match name, values:
        case "replace", (str() as text, str() as old, str() as new):
            return text.count(old) * len(new)
        case "join", (list() as items, str() as between):
            return len(items) * len(between)
        case "uniq", (list() as items, *_):
            return len(items) ** 2
        case "strip_html", (str() as text,):
            # The parser looks again from each unfinished tag.
            return len(text) ** 2 // 100
        case _:
            return 0
