"""When candidates are built: while another device measures, and never while this machine does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mncc.devices.device import Device
from mncc.devices.process import Local, ProcessSession, process_session
from mncc.kernels.target import Target, load_target
from mncc.tuning.measure import open_measurer
from mncc.tuning.race import Limits
from tests.tuning.test_measure import failures, in_order
from tests.tuning.toys import GOOD, SLOW, candidates, compile_and_tell, toy_task

LIMITS = Limits(build=20.0, run=5.0, least=5, most=5, seconds=0.01)
TASKS = 3


class Elsewhere(Device):
    """Another machine, as far as measurements know."""

    @property
    def name(self) -> str:
        return "elsewhere"

    def check(self, target: Target) -> None:
        pass

    @contextmanager
    def open(self, target: Target) -> Iterator[ProcessSession]:
        with process_session(()) as session:
            yield session


@pytest.fixture
def compiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has a file for every kernel that is being compiled."""
    monkeypatch.setenv("TOYS_COMPILING", str(tmp_path))
    return tmp_path


def measured_on(device: Device, monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]) -> None:
    """Measures two candidates each of some tasks; looks before and behind every run of one."""
    run = ProcessSession.run

    def watched(session: ProcessSession, *given: Any) -> Any:
        look()
        answer = run(session, *given)
        look()
        return answer

    monkeypatch.setattr(ProcessSession, "run", watched)
    target = load_target("native")
    given = [one for seed in range(TASKS) for one in candidates(toy_task(target, seed), GOOD, SLOW)]
    with open_measurer([device], target, 1, limits=LIMITS, compile=compile_and_tell) as measurer:
        measurer.submit(given)
        assert failures(in_order(given, list(measurer.outcomes()))) == [None] * len(given)


def test_this_machine_compiles_nothing_while_it_measures(compiling: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Path]] = []
    measured_on(Local(), monkeypatch, lambda: seen.append(list(compiling.iterdir())))
    assert seen == [[]] * (2 * 2 * TASKS)


def test_while_another_device_measures_the_next_candidates_are_compiled(
    compiling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first candidate does not run before that."""
    waited: list[bool] = []

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not waited and not list(compiling.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.005)
        waited.append(time.monotonic() < deadline)

    measured_on(Elsewhere(), monkeypatch, wait)
    assert all(waited)
