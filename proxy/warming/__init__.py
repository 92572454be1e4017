"""Fetches products before a send, so that its first messages find copies."""

from proxy.warming.run import CouldNot, NotYet, Tally, Warm, warm_all
from proxy.warming.skus import NoSuchColumn, read_skus

__all__ = ["CouldNot", "NoSuchColumn", "NotYet", "Tally", "Warm", "read_skus", "warm_all"]
