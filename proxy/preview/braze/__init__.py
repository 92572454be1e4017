"""Braze's side of the wire, as its documentation describes it.

A template is rendered the way Braze renders a message: its Liquid with ``${attributes}``, its
``connected_content`` and ``abort_message`` tags, and the rules it applies to each call. The public face is
`proxy.preview.braze.rendering.render`. The room talks to no network and no clock of its own: a `wire.Transport`, a
clock and a sleep are passed in, so that a preview, a terminal and a test can each bring theirs.
"""
