"""What devices say of themselves before a search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from mncc.devices.find import find_devices
from mncc.devices.requests import AboutMachine, Answer, MachineFacts, Request
from mncc.devices.tracker import Tracker
from mncc.language.diagnostic import DiagnosticError, OutsideError
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


def of_a_farm(monkeypatch: pytest.MonkeyPatch, *processors: str, used: int = 0) -> Facts:
    """Of a tracker's servers, which are given out in turn; others use as many."""
    free = list(processors)

    def opened(*_: object) -> Any:
        if not free:
            raise OutsideError("all servers are in use", "try again later")
        return nullcontext(free.pop(0))

    @contextmanager
    def placed(job: Any, progress: Progress, device: Any) -> Iterator[Machine]:
        yield Machine(device.session)

    monkeypatch.setattr(tune_whole, "placed", placed)
    monkeypatch.setattr(Tracker, "seats", lambda _: len(processors) + used)
    monkeypatch.setattr(Tracker, "open", opened)
    with Progress() as progress:
        return facts_of(SimpleNamespace(target=None), find_devices("tracker://farm:9190/pi5"), progress)  # type: ignore[arg-type]


def test_all_machines_of_a_farm_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DiagnosticError, match="tracker://farm:9190/pi5 #3 is Cortex-A72"):
        of_a_farm(monkeypatch, "Cortex-A76", "Cortex-A76", "Cortex-A72")
    assert of_a_farm(monkeypatch, "Cortex-A76", "Cortex-A76") == Facts("Cortex-A76", 50.0)


def test_machines_of_a_farm_that_others_use_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_a_farm(monkeypatch, "Cortex-A76", "Cortex-A76", used=2) == Facts("Cortex-A76", 50.0)
    with pytest.raises(OutsideError, match="in use"):
        of_a_farm(monkeypatch, used=2)
