"""Candidates on this machine: what is measured, and that whatever goes wrong with one costs nothing but itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from mncc.devices.process import Local
from mncc.kernels.space import neighbours
from mncc.kernels.target import load_target
from mncc.tuning.measure import open_measurer
from mncc.tuning.race import Limits
from mncc.tuning.task import Candidate, Outcome, Task, Tiles
from mncc.verbs.job import prepare
from mncc.verbs.tasks import tasks_of
from tests.tuning.toys import (
    COMPILER_CRASHES,
    COMPILER_HANGS,
    CRASH,
    GOOD,
    HANG,
    OUTSIDE,
    REFUSED,
    SLOW,
    WRONG,
    candidates,
    compile_toy,
    toy_task,
)

SHORT = Limits(build=6.0, run=2.0, least=5, most=20, seconds=0.05)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def failures(outcomes: list[Outcome]) -> list[str | None]:
    return [outcome.failure.kind if outcome.failure else None for outcome in outcomes]


def in_order(given: list[Candidate], outcomes: list[Outcome]) -> list[Outcome]:
    """Outcomes in the order of their candidates, each of which must have one."""
    assert len(outcomes) == len(given)
    return [next(outcome for outcome in outcomes if outcome.candidate is one) for one in given]


def test_what_goes_wrong_with_a_candidate_costs_only_itself(place: Path) -> None:
    task = toy_task(load_target("native"))
    wrong = (CRASH, HANG, WRONG, OUTSIDE, REFUSED, COMPILER_CRASHES, COMPILER_HANGS)
    given = candidates(task, GOOD, *wrong, GOOD)
    with open_measurer([Local()], task.target, 2, limits=SHORT, compile=compile_toy) as measurer:
        measurer.submit(given)
        found = in_order(given, list(measurer.outcomes()))
        assert measurer.unit == "s"
    assert failures(found) == [None, "crash", "hang", "wrong", "wrong", "build", "build", "build", None]
    told = [outcome.failure.text for outcome in found if outcome.failure]
    compiling = ("no such kernel", "SIGABRT", "within 6 s")
    parts = ("SIGSEGV", "2 s of CPU time", "largest error is 5", "not its own", *compiling)
    for part, text in zip(parts, told, strict=True):
        assert part in text
    assert all(outcome.cost and outcome.samples for outcome in (found[0], found[-1]))
    assert not list(place.iterdir())


def test_costs_are_in_units_of_the_first_reference() -> None:
    task = toy_task(load_target("native"))
    given = [Candidate(task, task.default), *candidates(task, SLOW)]
    with open_measurer([Local()], task.target, 1, limits=SHORT, compile=compile_toy) as measurer:
        for one in given:
            measurer.submit([one])
        first, slow = in_order(given, list(measurer.outcomes()))
        assert list(measurer.outcomes()) == []
    assert first.cost and slow.cost and 3 < slow.cost / first.cost < 5
    assert len(slow.samples) == SHORT.least < len(first.samples)
    ((seconds, drift), _) = measurer.drift["local"]
    assert seconds > 0 and drift == 1.0


def test_default_tiles_that_fail_are_told_for_all_candidates() -> None:
    task = toy_task(load_target("native"))
    broken = toy_task(task.target)
    object.__setattr__(broken, "default", candidates(task, REFUSED)[0].tiles)
    given = candidates(broken, GOOD, GOOD)
    with open_measurer([Local()], task.target, 1, limits=SHORT, compile=compile_toy) as measurer:
        measurer.submit(given)
        found = in_order(given, list(measurer.outcomes()))
    assert failures(found) == ["build", "build"]
    assert all("the default tiles" in outcome.failure.text for outcome in found if outcome.failure)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind_by_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.tuning.hanging"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "measuring\n"
        time.sleep(0.3)
        started = descendants(process.pid)
        process.send_signal(number)
        assert process.wait(20) != 0
    assert len(started) >= 2
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{one}").exists() for one in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [one for one in started if Path(f"/proc/{one}").exists()]
    if number != signal.SIGKILL:
        assert not list((tmp_path / "temporary").iterdir())


def descendants(parent: int) -> list[int]:
    found, newer = [], [parent]
    while newer:
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", ",".join(map(str, newer))], capture_output=True, text=True, check=False
        )
        newer = [int(word) for word in listed.stdout.split()]
        found += newer
    return found


def test_kernels_of_a_network_compute_what_their_tasks_expect() -> None:
    tasks = tasks_of(prepare(ROOT / "docs" / "tiny.mn", {}))
    given = [Candidate(task, task.default) for task in tasks]
    for task in tasks:
        given += [Candidate(task, tiles) for tiles, _ in zip(beside(task), range(2), strict=False)]
    with open_measurer([Local()], tasks[0].target, 2, limits=replace(SHORT, build=200.0)) as measurer:
        measurer.submit(sorted(given, key=lambda one: one.task.name))
        found = in_order(given, list(measurer.outcomes()))
    assert failures(found) == [None] * len(given)
    assert [task.name for task in tasks] == ["k00_conv2d", "k01_bottleneck", "k02_bottleneck", "k04_conv2d"]


def beside(task: Task) -> Iterable[Tiles]:
    return (tiles for _, tiles in neighbours(task.spec, task.target, task.default))
