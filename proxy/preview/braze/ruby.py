"""Values as Ruby's Liquid treats them, which Braze runs; each part says where python-liquid differs.

`tests.preview.braze.test_ruby` puts the same templates to Ruby's Liquid and to this. What plain Liquid can't judge
is judged by Braze's documentation, and said there.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

from liquid.builtin.expressions.primitive import Blank, Empty
from liquid.exceptions import LiquidTypeError
from liquid.undefined import Undefined

Now = Callable[[], datetime]

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# The directives that Python writes as Ruby does, and how wide they are.
_NUMBERS = dict.fromkeys("ymdHIMSUWV", 2) | {"j": 3, "u": 0, "w": 0}
_ZONES = {"est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7}
# Names that Rails, and so Braze, knows besides those of the IANA.
_RAILS_ZONES = {
    "Eastern Time (US & Canada)": "America/New_York",
    "Central Time (US & Canada)": "America/Chicago",
    "Mountain Time (US & Canada)": "America/Denver",
    "Pacific Time (US & Canada)": "America/Los_Angeles",
    "London": "Europe/London",
    "Paris": "Europe/Paris",
    "Berlin": "Europe/Berlin",
}

_CLOCK = re.compile(
    r"(?P<hour>\d{1,2})(?:\s*:\s*(?P<minute>\d{2})(?:\s*:\s*(?P<second>\d{2})(?:[.,:](?P<fraction>\d+))?)?"
    r"(?:\s*(?P<half>[ap])\.?m\b\.?)?|\s*(?P<bare_half>[ap])\.?m\b\.?)"
    r"(?:\s*(?P<zone>z\b|utc\b|gmt\b|(?:gmt|utc)?[+-]\d{1,2}(?::?\d{2})?|[ecmp][sd]t\b))?"
)
_NAME = r"(?P<name>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATES = (
    re.compile(r"(?<!\d)(?P<a>\d{1,4})-(?P<b>\d{1,2})-(?P<c>\d{1,4})(?!\d)"),
    re.compile(r"(?<!\d)(?P<a>\d{4})(?P<b>\d{2})(?P<c>\d{2})(?!\d)"),
    re.compile(r"(?<!\d)(?P<a>\d{1,4})/(?P<b>\d{1,2})(?:/(?P<c>\d{1,4}))?(?!\d)"),
    re.compile(r"(?<!\d)(?P<a>\d{1,4})\.(?P<b>\d{1,2})\.(?P<c>\d{1,4})(?!\d)"),
    re.compile(
        rf"(?<!\d)(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[\s.-]*{_NAME}(?:[\s,-]*(?P<year>\d{{4}}|\d{{2}})(?!\d))?"
    ),
    re.compile(rf"\b{_NAME}\s*(?P<day>\d{{1,2}})(?!\d)(?:st|nd|rd|th)?(?:[\s,]*(?P<year>\d{{4}})(?!\d))?"),
    re.compile(rf"\b{_NAME}(?:\s*(?P<year>\d{{4}})(?!\d))?"),
)
_FRENCH, _COMPACT = re.compile(r"\b(\d{1,2})h(\d{2})\b"), re.compile(r"\b(\d{8})t(\d{2})(\d{2})(\d{2})\b")
_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:[.:]\d+)?)?\s?[+-]\d{2}:?\d{2}")
_DIRECTIVE = re.compile(r"%(?P<flags>[-0^_#:]*)(?P<width>\d*)(?P<letter>[A-Za-z%+])")


class UtcText(str):
    """A timestamp of a profile or an event, written with its zone; Braze has it in UTC (Braze: Context variables)."""

    __slots__ = ()


def in_utc(values: Mapping[str, object]) -> dict[str, object]:
    """Return values with their timestamps made `UtcText`, however deep they are."""

    def one(value: object) -> object:
        match value:
            case str() if _STAMP.fullmatch(value):
                return UtcText(value)
            case list():
                return [one(inside) for inside in value]
            case Mapping():
                return in_utc(value)
            case _:
                return value

    return {name: one(value) for name, value in values.items()}


def utc_now() -> datetime:
    """Return the time by this machine's clock."""
    return datetime.now(UTC)


def read_date(value: object, now: Now) -> datetime | None:
    """Return the moment a value stands for, or None where Ruby's Liquid leaves the value as it is."""
    if isinstance(value, datetime):
        return value
    is_utc = isinstance(value, UtcText)
    if isinstance(value, str):
        text = value.lower()
        if text in {"now", "today"}:
            return now()
        value = int(text) if text.isascii() and text.isdecimal() and len(text) < 13 else text
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        moment = _parsed(value, now()) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment and is_utc else moment
    except (ValueError, OverflowError, OSError):
        return None


def in_zone(moment: datetime, zone: object) -> datetime:
    """Return the moment in a zone: an IANA name, hours from UTC (``-5``), or ``-05:00``.

    Raises:
        ValueError: there is no such zone.

    """
    if zone is None:
        return moment.astimezone(UTC)
    if isinstance(zone, (int, float)):
        return moment.astimezone(timezone(timedelta(hours=zone)))
    name = str(zone).strip()
    offset = re.fullmatch(r"([+-])(\d{2}):?(\d{2})", name)
    if offset:
        return moment.astimezone(_fixed(offset[0]))
    try:
        return moment.astimezone(ZoneInfo(_RAILS_ZONES.get(name, name)))
    except (LookupError, ValueError, OSError):
        raise ValueError(f"{name or 'nothing'} is no time zone; Braze knows names such as America/New_York") from None


def strftime(moment: datetime, layout: str) -> str:
    """Write a moment by Ruby's directives, with their flags (``%-d``, ``%^b``) and widths."""

    def written(match: re.Match[str]) -> str:
        text, pad = _field(moment, match["letter"], match["flags"])
        if text is None:
            return match.group()
        flags = match["flags"]
        if "^" in flags:
            text = text.upper()
        if "#" in flags:
            text = text.lower() if text.isupper() else text.upper()
        width, fill = pad
        if "-" in flags:
            width = 0
        fill = " " if "_" in flags else "0" if "0" in flags else fill
        return text.rjust(min(int(match["width"] or width), 1024), fill)

    return _DIRECTIVE.sub(written, layout)


def printed(moment: datetime) -> str:
    """Return how a moment prints without ``date``."""
    return strftime(moment, "%Y-%m-%d %H:%M:%S " + ("UTC" if moment.tzinfo is UTC else "%z"))


def _field(moment: datetime, letter: str, flags: str) -> tuple[str | None, tuple[int, str]]:
    """Return one directive's text and how it is padded; None when Ruby has no such directive."""
    layouts = {
        "D": "%m/%d/%y", "x": "%m/%d/%y", "F": "%Y-%m-%d", "T": "%H:%M:%S", "X": "%H:%M:%S", "R": "%H:%M",
        "r": "%I:%M:%S %p", "c": "%a %b %e %H:%M:%S %Y", "v": "%e-%^b-%4Y", "+": "%a %b %e %H:%M:%S %Z %Y",
    }  # fmt: skip
    blank, free = (2, " "), (0, " ")
    if letter in layouts:
        return strftime(moment, layouts[letter]), free
    if letter in _NUMBERS:
        return str(int(moment.strftime(f"%{letter}"))), (_NUMBERS[letter], "0")
    year, _, weekday = moment.isocalendar()
    name, day = _MONTHS[moment.month - 1].capitalize(), _DAYS[weekday - 1]
    half = "AM" if moment.hour < 12 else "PM"
    fields: dict[str, tuple[object, tuple[int, str]]] = {
        "Y": (moment.year, (4, "0")), "C": (moment.year // 100, (2, "0")), "G": (year, (4, "0")),
        "g": (year % 100, (2, "0")), "B": (name, free), "b": (name[:3], free), "h": (name[:3], free),
        "A": (day, free), "a": (day[:3], free), "e": (moment.day, blank), "k": (moment.hour, blank),
        "l": (moment.hour % 12 or 12, blank), "L": (f"{moment.microsecond // 1000:03d}", free),
        "N": (f"{moment.microsecond:06d}000", free), "p": (half, free), "P": (half.lower(), free),
        "s": (math.floor(moment.timestamp()), free), "z": (_offset(moment, flags), free),
        "Z": (_zone_name(moment), free), "n": ("\n", free), "t": ("\t", free), "%": ("%", free),
    }  # fmt: skip
    if letter not in fields:
        return None, free
    value, pad = fields[letter]
    return str(value), pad


def _offset(moment: datetime, flags: str) -> str:
    seconds = int((moment.utcoffset() or timedelta()).total_seconds())
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02d}{':' if ':' in flags else ''}{minutes:02d}"


def _zone_name(moment: datetime) -> str:
    # Ruby has no name for a plain offset.
    return "" if isinstance(moment.tzinfo, timezone) and moment.tzinfo is not UTC else moment.tzname() or ""


def _parsed(text: str, now: datetime) -> datetime | None:
    """Read a text by the rules of Ruby's ``Time.parse``: what is missing at the top comes from today."""
    text = _COMPACT.sub(r"\1t\2:\3:\4", _FRENCH.sub(r"\1:\2", text))
    clock = _CLOCK.search(text)
    rest = text[: clock.start()] + " " + text[clock.end() :] if clock else text
    year, month, day = _date(rest)
    if year is None and month is None and day is None:
        # A year, or a year and a month, is no date to Ruby, even beside a clock.
        if clock is None or re.search(r"(?<!\d)\d{4}(?!\d)", rest):
            return None
        year, month, day = now.year, now.month, now.day
    year = now.year if year is None else year
    moment = datetime(year, month or 1, 1, tzinfo=UTC)
    if day is not None:
        if not 1 <= day <= 31:
            return None
        # Ruby rolls the thirtieth of February over into March.
        moment += timedelta(days=day - 1)
    return moment if clock is None else _at_clock(moment, clock)


def _date(text: str) -> tuple[int | None, int | None, int | None]:
    for pattern in _DATES:
        found = pattern.search(text)
        if found is None:
            continue
        parts = found.groupdict()
        if "name" in parts:
            month = next(at for at, name in enumerate(_MONTHS, 1) if name.startswith(parts["name"]))
            year = _year(parts["year"]) if parts.get("year") else None
            return year, month, int(parts["day"]) if parts.get("day") else None
        first, second, third = parts["a"], parts["b"], parts["c"]
        if third is None:
            return None, int(first), int(second)
        if len(third) > 2 and len(first) <= 2:
            first, third = third, first
        return _year(first), int(second), int(third)
    return None, None, None


def _year(digits: str) -> int:
    year = int(digits)
    return year if len(digits) > 2 else year + (1900 if year >= 69 else 2000)


def _at_clock(day: datetime, clock: re.Match[str]) -> datetime | None:
    hour, half = int(clock["hour"]), clock["half"] or clock["bare_half"]
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour > 24 or int(clock["minute"] or 0) > 59:
        return None
    fraction = (clock["fraction"] or "").ljust(6, "0")[:6]
    moment = day + timedelta(
        hours=hour,
        minutes=int(clock["minute"] or 0),
        seconds=int(clock["second"] or 0),
        microseconds=int(fraction or 0),
    )
    zone = clock["zone"]
    return moment if zone is None else moment.replace(tzinfo=_read_zone(zone))


def _read_zone(zone: str) -> tzinfo:
    if zone in {"z", "utc", "gmt"}:
        return UTC
    if zone in _ZONES:
        return timezone(timedelta(hours=_ZONES[zone]))
    return _fixed(zone.removeprefix("gmt").removeprefix("utc"))


def _fixed(offset: str) -> tzinfo:
    digits = offset[1:].replace(":", "")
    hours, minutes = (int(digits[:-2]), int(digits[-2:])) if len(digits) > 2 else (int(digits), 0)
    return timezone((1 if offset[0] == "+" else -1) * timedelta(hours=hours, minutes=minutes))


_WHOLE = re.compile(r"\s*[+-]?\d+(?:_\d+)*\s*")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e", "\0": "\\0"}
# What Ruby's strip, and its split by a space, take for white space; Python's take Unicode's too.
SPACE = "\0\t\n\v\f\r "


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
            return (
                value is None or value is False or value in ([], {}) or (isinstance(value, str) and not value.strip())
            )
    left, right = plain(left), plain(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


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
