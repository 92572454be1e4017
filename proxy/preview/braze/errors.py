"""What can be wrong with a template itself, as types a caller can catch."""

from traceback import walk_tb

from liquid.ast import Node
from liquid.exceptions import LiquidError, ResourceLimitError


class TemplateError(Exception):
    """The template can't be rendered: its Liquid is wrong.

    ``line`` counts from 1 in the template as written; ``message`` is one plain sentence without it.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(f"line {line}: {message}")
        self.message = message
        self.line = line


class TemplateBoundError(TemplateError):
    """The template asks for more than one rendering may use: loops, output, text, or calls."""


class BoundReachedError(ResourceLimitError):
    """Raised inside a rendering when one of the room's own bounds is reached."""


def line_of(source: str, index: int) -> int:
    """Return the line, counted from 1, of a position in the template; positions outside are pulled in."""
    return source.count("\n", 0, max(0, min(index, len(source)))) + 1


def explained(error: LiquidError, source: str, *, line: int | None = None) -> TemplateError:
    """Turn an error of the Liquid library into this room's type, keeping its words and finding its line.

    ``line`` is used when the library does not know the place.
    """
    token = error.token
    if token is not None and token.source and token.start_index >= 0:
        line = line_of(source, token.start_index)
    kind = TemplateBoundError if isinstance(error, ResourceLimitError) else TemplateError
    return kind(str(error.message), line or line_of(source, len(source)))


def library_failure(error: Exception, source: str) -> TemplateError | None:
    """Explain an exception the Liquid library lets through for odd values, such as a loop offset of 1e3.

    Returns None when it was not raised inside the library: then it is a bug of this project's, and stays one.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    if not frames or str(frames[-1].f_globals.get("__name__")).partition(".")[0] != "liquid":
        return None
    return TemplateError(f"a value can't be used there: {error}", line_reached(error, source))


def line_reached(error: Exception, source: str) -> int:
    """Return the line of the innermost tag or output that was being rendered when ``error`` was raised."""
    line = 1
    for frame, _ in walk_tb(error.__traceback__):
        node = frame.f_locals.get("self")
        # The pieces of a connected_content tag are templates of their own, with positions of their own.
        if isinstance(node, Node) and node.token.source == source:
            line = line_of(source, node.token.start_index)
    return line
