"""Braze's dialect of Liquid as an environment of the Liquid library."""

from collections.abc import Callable, Iterator
from functools import partial

from liquid import Environment
from liquid.token import Token

from proxy.preview.braze import attributes, filters, rules
from proxy.preview.braze.abort import AbortTag
from proxy.preview.braze.connected_content import ConnectedContentTag


class BrazeEnvironment(Environment):
    """Liquid with Braze's syntax, tags and filters, and without what reads other templates."""

    output_stream_limit = rules.OUTPUT_BYTES
    local_namespace_limit = rules.VARIABLE_BYTES

    def tokenizer(self) -> Callable[[str], Iterator[Token]]:
        """Return a lexer that reads ``${attributes}``."""
        return partial(attributes.tokenize, lexer=super().tokenizer())

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        """Register Liquid's own tags and filters, then Braze's."""
        super().setup_tags_and_filters(extra=extra)
        for name in ("include", "render"):
            del self.tags[name]
        self.add_tag(ConnectedContentTag)
        self.add_tag(AbortTag)
        filters.register(self)


def braze_environment() -> BrazeEnvironment:
    """Return a new environment for Braze's templates.

    Its templates can be parsed anywhere; they are rendered by `proxy.preview.braze.rendering`, which brings the
    context their calls need.
    """
    return BrazeEnvironment()
