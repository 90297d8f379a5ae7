"""The conversation with a worker, and rounds of several, with workers that only pretend. Nothing is timed."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from mncc.peers import Contestant, PeerError, Process, measure
from mncc.peers import process as process_module
from mncc.peers.process import choose_cpus, pinned

FAKE = Path(__file__).with_name("fake_worker.py")


def fake(kind: str, folder: Path, threads: int = 1) -> Process:
    job = {"engine": kind, "folder": str(folder), "threads": threads}
    return Process([sys.executable, str(FAKE)], job, folder / "log.txt")


def test_runs(tmp_path: Path) -> None:
    with fake("good", tmp_path, threads=3) as process:
        assert (process.version, process.seconds) == ("1.2", 0.004)
        assert np.load(process.outputs[0]).tolist() == [3.0] * 4
        runs = process.run(5)
        assert runs.cpu == (0.004,) * 5 and runs.wall == (0.008,) * 5
        handle = process._process
        assert handle is not None and handle.poll() is None
    assert handle.returncode == 0


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("absent", "not installed: pip install absent"),
        ("broken", "ValueError: two lines"),
        ("nonsense", "its process answers nonsense"),
        ("crashes", "its process ended with status 7: last words"),
    ],
)
def test_refusals(kind: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(PeerError) as error, fake(kind, tmp_path):
        pass
    assert str(error.value) == reason


def test_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "SECONDS_TO_PREPARE", 0.2)
    with pytest.raises(PeerError, match="no answer within"), fake("silent", tmp_path):
        pass


def test_no_such_python(tmp_path: Path) -> None:
    process = Process([str(tmp_path / "python")], {}, tmp_path / "log.txt")
    with pytest.raises(PeerError, match="cannot be started: No such file"), process:
        pass


class Meter:
    """A peak that grows with every sample."""

    def __init__(self) -> None:
        self.affinities: list[set[int]] = []

    def sample(self, threads: int, milliseconds: float = 20) -> float | None:
        self.affinities.append(os.sched_getaffinity(0))
        return 100.0 * threads + len(self.affinities)


def test_rounds(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    lost: list[tuple[str, str]] = []
    meter = Meter()
    with ExitStack() as stack:
        contestants = []
        for kind, threads in (("good", 1), ("tired", 1), ("dies", 1), ("good", 2)):
            folder = tmp_path / f"{kind}{threads}"
            folder.mkdir()
            process = stack.enter_context(fake(kind, folder, threads))
            contestants.append(Contestant(kind, threads, process, process.version))
        peaks = measure(
            contestants,
            meter,  # type: ignore[arg-type]
            [1, 2],
            0.7,
            lambda text, fraction: None,
            lambda contestant, error: lost.append((contestant.engine, str(error))),
        )
    # 0.02 s a turn at 0.004 s a run: five runs, of 0.008 wall seconds each, until seven tenths are over.
    one, tired, dead, two = contestants
    assert [len(c.cpu) for c in (one, tired, dead, two)] == [90, 10, 5, 90]
    assert set(one.seconds) == {0.004} and set(two.seconds) == {0.008}
    assert sorted(lost) == [("dies", "its process ended with status 9"), ("tired", "RuntimeError: enough")]
    assert peaks == {1: 135.0, 2: 236.0}
    assert os.sched_getaffinity(0) == before
    assert {len(cpus) for cpus in meter.affinities} <= {1, 2}


def test_cpus_are_of_different_cores_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 6})
    for cpu, siblings in ((0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3")):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    assert choose_cpus(1, tmp_path) == (0,)
    assert choose_cpus(3, tmp_path) == (0, 2, 6)
    assert choose_cpus(4, tmp_path) == (0, 1, 2, 6)
    assert choose_cpus(99, tmp_path) == (0, 1, 2, 3, 6)


def test_pinning_ends(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ZeroDivisionError), pinned(choose_cpus(1)):
        assert len(os.sched_getaffinity(0)) == 1
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before
