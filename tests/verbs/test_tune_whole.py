"""What devices say of themselves before a search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from mncc.devices.find import find_devices
from mncc.devices.requests import AboutMachine, Answer, MachineFacts, Request
from mncc.language.diagnostic import DiagnosticError
from mncc.report.progress import Progress
from mncc.verbs import tune_whole
from mncc.verbs.tune_whole import Facts, facts_of


@dataclass
class Machine:
    """A place that only knows its processor and its peak."""

    processor: str

    def answers(self, requests: Iterable[Request]) -> Iterator[Answer]:
        facts = MachineFacts("Linux", "x86_64", 4, f"model name\t: {self.processor}\n")
        for request in requests:
            yield Answer(machine=facts) if isinstance(request, AboutMachine) else Answer(gflops=50.0)


def facts(monkeypatch: pytest.MonkeyPatch, *processors: str) -> Facts:
    """Of devices that have these processors."""
    named = {f"command:board{number}": processor for number, processor in enumerate(processors)}

    @contextmanager
    def placed(job: Any, progress: Progress, device: Any) -> Iterator[Machine]:
        yield Machine(named[device.name])

    monkeypatch.setattr(tune_whole, "placed", placed)
    job: Any = None
    with Progress() as progress:
        return facts_of(job, find_devices(",".join(named)), progress)


def test_boards_of_one_processor_share_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    assert facts(monkeypatch, "Cortex-A76", "Cortex-A76") == Facts("Cortex-A76", 50.0)


def test_boards_of_different_processors_are_refused_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DiagnosticError, match="command:board1 is Cortex-A72"):
        facts(monkeypatch, "Cortex-A76", "Cortex-A72")
