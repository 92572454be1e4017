"""The preview: a message as it would look, every call it makes, and its mistakes in plain words.

The page, the tests and the command ``flask --app wsgi preview TEMPLATE``, which is here, share
`proxy.preview.message`. Nothing here opens a socket: a template's calls go to the proxy's own app in this process
(`proxy.preview.people`).
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.clock import spawn
from proxy.settings import Credential, Settings

if TYPE_CHECKING:
    from proxy.preview.message import Preview

_CHANNELS = ("email", "push", "sms", "in-app")


@click.command("preview")
@click.argument("template", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--data", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="the person, as JSON")
@click.option("--channel", type=click.Choice(_CHANNELS), default="email", show_default=True)
@click.option("--title", default="", help="the subject, title or header")
@click.option("--preheader", default="", help="the preheader of an e-mail")
@click.option("--body", "only_body", is_flag=True, help="print the message alone")
@click.option("--people", is_flag=True, help="print what each of the five people gets")
@click.option("--strict", is_flag=True, help="exit status 1 for a yellow verdict too")
@click.pass_context
def preview(
    context: click.Context,
    *,
    template: Path,
    data: Path | None,
    channel: str,
    title: str,
    preheader: str,
    only_body: bool,
    people: bool,
    strict: bool,
) -> None:
    """Render TEMPLATE as Braze would; exit status 1 when nothing would be sent."""
    if importlib.util.find_spec("liquid") is None:
        raise click.ClickException("python-liquid is missing: pip install '.[preview]'")
    from flask.cli import ScriptInfo

    from proxy.preview.braze import Channel
    from proxy.preview.message import BadProfile, Message, profile
    from proxy.preview.message import preview as previewed
    from proxy.preview.people import InProcessTransport

    try:
        given = profile(json.loads(_read(data)) if data else {})
    except (BadProfile, ValueError) as error:
        raise click.ClickException(f"{data}: {error}") from error
    message = Message(Channel(channel), _read(template), title, given, preheader)
    app = context.ensure_object(ScriptInfo).load_app()
    settings: Settings = app.extensions["proxy"].settings
    # Without credentials the app answers reading without one, whatever is shown.
    own = settings.credentials[0] if settings.credentials else Credential("preview", "none")
    result = previewed(message, InProcessTransport(app, (), spawn), own)
    click.echo(result.body.strip() if only_body else _printed(result))
    if people:
        click.echo()
        for one in result.people:
            click.echo(f"{one['label']}: {one['verdict']}. {one['reason'] or ' '.join(one['body'].split())[:100]}")
    sys.exit(1 if result.verdict == "red" or (strict and result.verdict == "yellow") else 0)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise click.ClickException(f"{file}: line {line} is not UTF-8; save it as UTF-8") from error


def _printed(result: Preview) -> str:
    lines = [result.body.strip()] if result.state == "ready" else [f"Not sent ({result.state}): {result.reason}"]
    for call in result.calls:
        lines += ["", *_call(call)]
    for mistake in result.mistakes:
        lines += ["", f"Line {mistake['line']}: {mistake['message']}"]
        if mistake["fix"]:
            lines.append(f"  Fix: {mistake['fix']['label']}")
    lines += ["", f"Verdict: {result.verdict}"]
    return "\n".join(lines)


def _call(call: dict[str, Any]) -> list[str]:
    lines = [f"{call['method']} {call['url']}", f"  {call['outcome']}"]
    if call["status"] is not None:
        cached = (call["response_headers"] or {}).get("X-Cache", "-")
        lines.append(
            f"  status {call['status']}, {call['duration_ms'] or 0:.0f} ms, X-Cache {cached}, "
            f"{call['body_bytes']:,} of 1,048,576 bytes"
        )
    return lines
