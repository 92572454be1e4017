"""Home-made words stay out of the code: each stands here beside the term of the field that took its place.

A word counts as an identifier when something in ``proxy/`` has it for its whole name: a file, a class, a function, a
parameter, a variable, an attribute or a field. A capital is a class; small letters are anything.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import proxy

ROOT = Path(proxy.__file__).parent
REPLACED_BY = {
    "response cache, ResponseCache, CachedResponse, RequestKey": "lane HeldAnswers Ready Asked",
    "surrogate keys": "MadeOf",
    "singleflight Group and Call, do, set_result, set_exception": "Flight Flights join ground land crash",
    "cached, entry, put; update, invalidate, get, refresh": "held copy hold revise forget peek renew",
    "acquire_lock, commit, abandon": "take bring give_up",
    "priority: foreground, background; backoff": "urgent set_back",
    "L1, l1_ttl, write-back; envelope; change feed; generation": "near trust give_back frame notices changed",
    "PageLoader, Cursor: prefetch, await_page, watermark": "Shelf Listing reach settle horizon",
    "bulkhead, circuit breaker, quota": "Gate place Budget",
    "retry_after, raise_for_status, call deadline, abort": "told sound Watch sever",
    "idempotency, fingerprint": "Once sameness Ledger",
    "access log, RequestFinished, buffered handler, gauges, on_event": "Observing Lines Writing Sampling hear",
    "draining, prometheus_multiproc, PrebuiltResponse": "leaving metrics_files Whole",
    "state, faults, edge_cases; profile, in-process transport": "stand_in misbehaving odd person Inside",
}
# Where the word is the field's own.
ALLOWED = {
    ("api/schemas.py", "notices"): "a key of /status",
    ("cache/__init__.py", "forget"): "the Forget of Go's singleflight",
    ("preview/braze/__init__.py", "frame"): "Python's frame of a call",
    ("server/__init__.py", "frame"): "the same, as Python gives it to a signal's handler",
    ("server/worker.py", "frame"): "the same",
}


def identifiers(code: str) -> Iterator[str]:
    """Each name that this code gives something."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.alias(asname=str(name)):
                yield name


def test_no_home_made_word_is_an_identifier() -> None:
    term = {word: terms for terms, words in REPLACED_BY.items() for word in words.split()}
    found = [
        f"{file.relative_to(ROOT)}: {name} (the field says: {term[word]})"
        for file in sorted(ROOT.rglob("*.py"))
        for name in sorted({file.stem, file.parent.name, *identifiers(file.read_text())})
        if (word := name.strip("_")) in term and (str(file.relative_to(ROOT)), word) not in ALLOWED
    ]
    assert found == []


def test_every_exception_is_still_needed() -> None:
    for file, word in ALLOWED:
        assert word in {name.strip("_") for name in identifiers((ROOT / file).read_text())}, (file, word)
