"""Small searches: tests show that they go on, not how good they are."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def small_population(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generation of MetaSchedule's evolution costs as much as its candidates are many."""
    monkeypatch.setattr("mncc.tuning.evolution.POPULATION", 32)
    monkeypatch.setattr("mncc.tuning.evolution.GENERATIONS", 2)
