"""Dates as Ruby reads and writes them: ``Time.parse``, ``strftime``, and Braze's ``time_zone`` (Braze: Filters).

python-liquid asks dateutil and the C library: they take other texts for dates, read those without a zone in the
machine's own, and write what the machine's locale says. Braze runs in UTC.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

Now = Callable[[], datetime]

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
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
    two, blank, free = (2, "0"), (2, " "), (0, " ")
    hour = moment.hour % 12 or 12
    year, week, _ = moment.isocalendar()
    name = _MONTHS[moment.month - 1].capitalize()
    day_of_year = moment.timetuple().tm_yday
    sunday = (moment.weekday() + 1) % 7
    if letter in layouts:
        return strftime(moment, layouts[letter]), free
    fields: dict[str, tuple[object, tuple[int, str]]] = {
        "Y": (moment.year, (4, "0")), "C": (moment.year // 100, two), "y": (moment.year % 100, two),
        "m": (moment.month, two), "B": (name, free), "b": (name[:3], free), "h": (name[:3], free),
        "d": (moment.day, two), "e": (moment.day, blank), "j": (day_of_year, (3, "0")),
        "H": (moment.hour, two), "k": (moment.hour, blank), "I": (hour, two), "l": (hour, blank),
        "M": (moment.minute, two), "S": (moment.second, two), "L": (f"{moment.microsecond // 1000:03d}", free),
        "N": (f"{moment.microsecond:06d}000", free), "p": ("AM" if moment.hour < 12 else "PM", free),
        "P": ("am" if moment.hour < 12 else "pm", free), "A": (_DAYS[moment.weekday()], free),
        "a": (_DAYS[moment.weekday()][:3], free), "u": (moment.weekday() + 1, free), "w": (sunday, free),
        "G": (year, (4, "0")), "g": (year % 100, two), "V": (week, two),
        "U": ((day_of_year + 6 - sunday) // 7, two), "W": ((day_of_year + 6 - moment.weekday()) // 7, two),
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
