"""Watches the other rooms: turns what they report into metrics and log lines, and every answer into one of each."""
