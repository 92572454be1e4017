"""A ``connected_content`` tag as it is written: its URL and its options, not yet rendered.

The options and their meaning are those of Braze: Make a Connected Content call, Local Connected Content
variables, Cache Connected Content responses, and Use retry logic for Connected Content.
"""

import re
from dataclasses import dataclass

from proxy.preview.braze.markup import NeverClosedError, json_end, word_end

FLAGS = ("retry", "no_cache")
WORDS = ("save", "method", "content_type", "basic_auth", "auth_credentials", "cache_max_age")
OPTIONS = (*WORDS, "headers", "body", *FLAGS)

_SPACE = re.compile(r"\s*")
_OPTION = re.compile(r":(\w+)(?=\s|$)")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class CallSyntaxError(ValueError):
    """The tag is written wrongly; ``position`` is where, inside the tag."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True)
class Written:
    """A piece of the tag as it stands there, Liquid and all, and where it starts inside the tag."""

    text: str
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    """What one tag asks for. A piece that may hold Liquid is `Written`; None means not given."""

    url: Written
    save: str | None = None
    method: Written | None = None
    headers: Written | None = None
    body: Written | None = None
    content_type: Written | None = None
    basic_auth: Written | None = None
    auth_credentials: Written | None = None
    cache_max_age: Written | None = None
    retry: bool = False
    no_cache: bool = False


def parse_call(text: str) -> Call:
    """Read the text between ``{% connected_content`` and ``%}``.

    The URL comes first, the options follow in any order and over any number of lines.

    Raises:
        CallSyntaxError: no URL, an unknown or repeated option, an option without its value, or an open brace.

    """
    try:
        return _parse(text)
    except NeverClosedError as err:
        raise CallSyntaxError(str(err), err.position) from err


def _parse(text: str) -> Call:
    at = _skip_space(text, 0)
    end = word_end(text, at)
    if at == end or _is_option(text, at):
        raise CallSyntaxError("connected_content needs a URL, before its options", at)
    url = Written(text[at:end], at)
    pieces: dict[str, Written] = {}
    flags: set[str] = set()
    at = _skip_space(text, end)
    while at < len(text):
        name = _option_name(text, at)
        if name in pieces or name in flags:
            raise CallSyntaxError(f":{name} is given twice", at)
        start = _skip_space(text, at + 1 + len(name))
        if name in FLAGS:
            flags.add(name)
            at = start
            continue
        end = _value_end(text, start, name)
        if start == end or _is_option(text, start):
            raise CallSyntaxError(f":{name} needs a value", at)
        pieces[name] = Written(text[start:end], start)
        at = _skip_space(text, end)
    save = pieces.get("save")
    if save is not None and not _NAME.fullmatch(save.text):
        raise CallSyntaxError(f":save needs the name of a variable, found {save.text}", save.position)
    return Call(
        url=url,
        save=save.text if save else None,
        method=pieces.get("method"),
        headers=pieces.get("headers"),
        body=pieces.get("body"),
        content_type=pieces.get("content_type"),
        basic_auth=pieces.get("basic_auth"),
        auth_credentials=pieces.get("auth_credentials"),
        cache_max_age=pieces.get("cache_max_age"),
        retry="retry" in flags,
        no_cache="no_cache" in flags,
    )


def _option_name(text: str, at: int) -> str:
    option = _OPTION.match(text, at)
    if option is None:
        found = text[at : word_end(text, at)]
        raise CallSyntaxError(f"expected an option such as :save, found {found}", at)
    if option[1] not in OPTIONS:
        raise CallSyntaxError(f"there is no option :{option[1]}; the options are {_listed()}", at)
    return option[1]


def _is_option(text: str, at: int) -> bool:
    option = _OPTION.match(text, at)
    return option is not None and option[1] in OPTIONS


def _value_end(text: str, start: int, name: str) -> int:
    if name in WORDS:
        return word_end(text, start)
    if text[start : start + 1] in {"{", "["} and text[start : start + 2] != "{{":
        return json_end(text, start)
    end = word_end(text, start)
    # A form body may hold spaces, so it goes on to the next option.
    while name == "body" and end < len(text):
        after = _skip_space(text, end)
        if after == len(text) or _is_option(text, after):
            break
        end = word_end(text, after)
    return end


def _skip_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _listed() -> str:
    return ", ".join(f":{name}" for name in OPTIONS)
