"""Keeps what is cached true within the plan: calls grow with what changes, not with products and time.

The validator confirms products by their counts, a hundred in one call. Where there is an API secret the feed confirms
a whole shop in one call, and a comparison of all summaries finds what a feed does not show.
"""
