"""Keeps what is cached true within the plan: calls grow with what changes, not with products and time.

The validator confirms products by their counts, a hundred in one call.
"""
