"""What Braze documents for Connected Content: its limits, its channels, and how it keeps answers.

Each limit names the page that states it. Where the documentation is silent the comment says so; those numbers are
this project's reading.
"""

from enum import StrEnum

# Braze: Make a Connected Content call, "Allowing for efficient performance".
ANSWER_SECONDS = 2.0

# Braze: Make a Connected Content call, "Things to know". Whether a megabyte is 1,000,000 or 1,048,576 bytes
# is not documented; the larger one is what a computer's megabyte usually means.
BODY_BYTES = 1_048_576

# Braze: Make a Connected Content call, "Error handling".
PORTS = frozenset({80, 443})
METHODS = frozenset({"GET", "POST"})

# Braze: Cache Connected Content responses, "Cache time".
CACHE_DEFAULT_SECONDS = 300
CACHE_SHORTEST_SECONDS = 300
CACHE_LONGEST_SECONDS = 14_400

# Braze: Use retry logic for Connected Content. "Up to five times" after the first attempt.
RETRIES = 5

# Braze: Connected Content Debugger, "Which request headers appear in the debugger". The hash changes with
# every release of Braze's sender; this one is made up, and has the length the documentation shows.
SENDER_VERSION = "5f0c1d7a9e3b4826c0d5e7f8a1b2c3d4e5f60718"
USER_AGENT = f"Braze Sender {SENDER_VERSION}"

# Not Braze's: a page that renders other people's templates has to stop somewhere.
CALLS_PER_RENDER = 20
TEMPLATE_CHARACTERS = 262_144
URL_CHARACTERS = 8_192
EXPRESSION_WORK = 20_000_000
SPACES_BEFORE_CLOSING = 200
UNCLOSED_WORK = 50_000_000
OUTPUT_BYTES = 2_097_152
VARIABLE_BYTES = 4_194_304
LOOP_ITERATIONS = 20_000
FILTER_CALLS = 20_000
FILTER_TEXT_CHARACTERS = 262_144
FILTER_ITEMS = 10_000
FILTER_NUMBER_BITS = 4_096
FILTER_WORK = 4_000_000
FILTER_INPUT = 8_000_000


def backoff_seconds(retry: int) -> float:
    """Return how long to wait before the given retry, counted from 1.

    Braze documents exponential backoff (Use retry logic for Connected Content) but not its steps.
    """
    return float(2 ** (retry - 1))


def clamped_cache_seconds(asked: int) -> int:
    """Return the age Braze really uses for ``:cache_max_age asked`` (Cache Connected Content responses)."""
    return min(max(asked, CACHE_SHORTEST_SECONDS), CACHE_LONGEST_SECONDS)


def cache_seconds(method: str, *, asked: int | None, no_cache: bool) -> int | None:
    """Return for how long an answer is kept, or None when it is not.

    GET is cached by default and ``:no_cache`` turns that off; POST is cached only when ``:cache_max_age`` is
    given (Braze: Cache Connected Content responses).
    """
    if no_cache:
        return None
    if asked is not None:
        return clamped_cache_seconds(asked)
    return CACHE_DEFAULT_SECONDS if method == "GET" else None


class Channel(StrEnum):
    """One of Braze's channels."""

    EMAIL = "email"
    PUSH = "push"
    SMS = "sms"
    IN_APP = "in-app"

    @property
    def is_html(self) -> bool:
        """Whether the message is HTML, so that text in it has to be escaped; Braze does not do that."""
        return self is Channel.EMAIL

    @property
    def retries(self) -> bool:
        """Whether ``:retry`` works (Braze: Use retry logic for Connected Content: not for in-app messages)."""
        return self is not Channel.IN_APP


# Braze: Local Connected Content variables.
STATUS_KEY = "__http_status_code__"
DEFAULT_VARIABLE = "connected"
