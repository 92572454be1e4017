"""Finding where a piece of Liquid ends, which Braze's braces within braces make worth a file of its own."""

import re

_BRACES = re.compile(r"\$\{[^{}]*\}|\{\{|\}\}")
_WORD_STOP = re.compile(r"\s|\{\{")
_JSON_PART = re.compile(r'\{\{|\\.|["{}\[\]]', re.DOTALL)


class NeverClosedError(ValueError):
    """A brace is opened at ``position`` and not closed."""

    def __init__(self, what: str, position: int) -> None:
        super().__init__(f"{what} is never closed")
        self.position = position


def output_end(text: str, start: int) -> int:
    """Return the index just past the ``}}`` that closes the ``{{`` at ``start``.

    The braces of ``${attribute}`` and of ``{{…}}`` inside belong to the output, so ``{{${first_name}}}`` and
    ``{{a | plus: {{b}}}}`` are one each (Braze: Use Liquid).

    Raises:
        NeverClosedError: there is no such ``}}``.

    """
    depth = 0
    for brace in _BRACES.finditer(text, start):
        if brace.group() == "{{":
            depth += 1
        elif brace.group() == "}}":
            depth -= 1
            if depth == 0:
                return brace.end()
    raise NeverClosedError("'{{'", start)


def word_end(text: str, start: int) -> int:
    """Return where the word at ``start`` ends; Liquid output inside it may hold spaces.

    Raises:
        NeverClosedError: an output inside the word has no end.

    """
    at = start
    while stop := _WORD_STOP.search(text, at):
        if stop.group() != "{{":
            return stop.start()
        at = output_end(text, stop.start())
    return len(text)


def json_end(text: str, start: int) -> int:
    """Return the index just past the JSON object or array at ``start``; it may hold Liquid output anywhere.

    Raises:
        NeverClosedError: the object, the array or an output inside it has no end.

    """
    depth, quoted, at = 0, False, start
    while part := _JSON_PART.search(text, at):
        at = part.end()
        match part.group():
            case "{{":
                at = output_end(text, part.start())
            case '"':
                quoted = not quoted
            case "{" | "[" if not quoted:
                depth += 1
            case "}" | "]" if not quoted:
                depth -= 1
                if depth == 0:
                    return at
    raise NeverClosedError(f"'{text[start]}'", start)
