"""Templates that Ruby's Liquid and the preview must render alike: probes.txt, and each value by each filter."""

from itertools import product
from pathlib import Path
from typing import Any

DATA: dict[str, Any] = {
    "list": ["b", "a", "C", None, "a"],
    "numbers": [3, 1, 2.5, 2],
    "none_in_it": [],
    "object": {"a": 1, "b": "two", "c": None, "size": 9},
    "empty_object": {},
    "objects": [
        {"n": "x", "v": 3, "ok": True},
        {"n": "y", "v": 1},
        {"n": "z", "v": 2, "ok": False},
        {"n": "X", "v": None},
    ],
    "html": '<p class="a">A &amp; B\'s <b>"bold"</b>\n<!-- c --><script>x</script></p>',
    "nested": [[1, [2, None]], ["x", {"k": 1.0, "q": 'a "b"\n#{c}'}]],
    "tiny": 0.00001,
    "huge": 1e20,
    "lines": "a\r\nb\n\nc",
    "spaces": " \t\n a  b \u00a0",
    "name": "Ann",
    "blank_text": "  ",
    "no": False,
    "yes": True,
    "sku": "TRUCK-01",
    "reviews": [{"stars": 5, "content": "Great!", "author": "Kevin", "reply": None, "date": "2024-10-14"}],
    "summary": {"average": 4.7, "total": 1153},
    "when": "2021-06-03 17:13:41 UTC",
    "when_there": "2021-06-03T17:13:41.250+02:00",
}

VALUES = (
    *("nil", "''", "' '", "'Hello World'", "7", "-3", "2.5", "-2.5", "'3.75'", "'4abc'", "true"),
    *(
        "false",
        "list",
        "numbers",
        "none_in_it",
        "object",
        "objects",
        "'ünïcödé ☃'",
        "html",
        "nested",
        "(1..4)",
        "tiny",
    ),
    *("huge", "12345678901234567890", "lines", "spaces", "not_set", "1234567.5"),
)

FILTERS = (
    *("abs", "append: 'x'", "append: nil", "append: not_set", "append: 2.0", "append: object", "at_least: 5"),
    *("at_least: 2.5", "at_most: 5", "at_most: nil", "capitalize", "ceil", "compact", "concat: list"),
    *(
        "date: '%Y-%m-%d'",
        "date: nil",
        "date: ''",
        "default: 'd'",
        "default: 'd', allow_false: true",
        "divided_by: 2",
    ),
    *("divided_by: 2.0", "divided_by: 0", "divided_by: nil", "downcase", "escape", "escape_once", "first", "floor"),
    *("join", "join: '-'", "join: nil", "last", "minus: '1.5'", "modulo: 3", "modulo: 2.5", "modulo: 0", "h"),
    *("newline_to_br", "plus: 1", "plus: '2.50'", "plus: nil", "plus: 'x'", "prepend: 'x'", "prepend: nil"),
    *(
        "remove: 'l'",
        "remove: nil",
        "remove_first: 'l'",
        "remove_last: 'l'",
        "replace: 'l', 'L'",
        "replace: nil, 'x'",
    ),
    *("replace: 'l', nil", "replace: 'l'", "replace_first: 'l', 'L'", "replace_last: 'l', 'L'", "reverse", "round"),
    *(
        "round: 1",
        "round: -1",
        "round: nil",
        "size",
        "slice: 1",
        "slice: 0, 2",
        "slice: -2, 2",
        "slice: 9, 2",
        "sort",
    ),
    *("sort_natural", "split: ' '", "split: ''", "split: nil", "split: 'l'", "split: ','", "strip", "strip_html"),
    *("strip_newlines", "times: 3", "times: 1.5", "times: nil", "truncate: 5", "truncate: 7, '…'", "truncate: 4, ''"),
    *("truncate", "truncate: nil", "truncatewords: 1", "truncatewords: 2, ''", "truncatewords", "uniq", "upcase"),
    *("url_decode", "url_encode", "base64_encode", "where: 'ok'", "map: 'n'"),
)


def probes() -> list[str]:
    """Return every template, each once."""
    matrix = [f"[{{{{ {value} | {name} }}}}]" for name, value in product(FILTERS, VALUES)]
    equalities = ("== nil", "!= nil", "== empty", "== ''", "== true", "== false", "> 2", "contains 'a'", "== 7")
    conditions = [
        f"{{% if {value} {test} %}}y{{% else %}}n{{% endif %}}" for test, value in product(("", *equalities), VALUES)
    ]
    whole = [
        f"{{% assign z = {value} %}}[{{{{ z }}}}|{{{{ z.size }}}}|{{{{ z.first }}}}|{{{{ z.last }}}}|{{{{ z[0] }}}}"
        f"|{{{{ z['a'] }}}}]{{% for x in z %}}({{{{ x }}}}){{% else %}}none{{% endfor %}}"
        for value in VALUES
    ]
    return list(dict.fromkeys([*written(), *whole, *conditions, *matrix]))


def written() -> list[str]:
    """Return the templates of probes.txt."""
    lines = Path(__file__).with_name("probes.txt").read_text("utf-8").splitlines()
    return [line.replace("\\n", "\n").replace("\\r", "\r") for line in lines if not line.startswith("# ")]
