from __future__ import annotations

import pytest

from proxy import clock


@pytest.fixture(autouse=True)
def nobody_to_give_way_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks beside a round in this process, and thousands of short sleeps are long on a busy machine."""
    monkeypatch.setattr(clock, "give_way", lambda: None)
