"""The database of a search: what killed processes and strangers leave in its files."""

from __future__ import annotations

import json
import multiprocessing
import resource
import signal
import time
from pathlib import Path

import pytest

from mncc.language.diagnostic import OutsideError
from mncc.tuning.database import RECORDS, WORKLOADS, Database, open_database
from mncc.tuning.evolution import Evolution, workload

TRIALS = {(0, 1, 2): 2e-3, (1, 1, 2): 1e-3, (2, 0, 0): None}


def filled(folder: Path, definition: str = "now", key: str = "k") -> None:
    """Writes TRIALS as the trials of one kernel."""
    with open_database(folder, definition, pytest.fail) as database:
        evolution = evolution_of(database, key, definition)
        for decisions, cost in TRIALS.items():
            evolution.tell(decisions, cost)


def evolution_of(database: Database, key: str, definition: str = "now") -> Evolution:
    """A search among 60 decision vectors that are all alike."""
    module = workload(key, definition)
    return Evolution(module, (3, 4, 5), lambda _: True, lambda v: [1.0] * len(v), database, {}, 1)


def reopened(folder: Path) -> tuple[dict[tuple[int, ...], float | None], list[str]]:
    """The trials of the kernel `k`, and the notes."""
    notes: list[str] = []
    with open_database(folder, "now", notes.append) as database:
        return dict(database.known("k")), notes


def test_trials_are_there_again(tmp_path: Path) -> None:
    filled(tmp_path)
    assert reopened(tmp_path) == (TRIALS, [])


def test_of_two_kernels_each_has_its_own(tmp_path: Path) -> None:
    filled(tmp_path)
    filled(tmp_path, key="other")
    assert reopened(tmp_path) == (TRIALS, [])


def test_a_torn_line_is_left_out_and_the_rest_is_used(tmp_path: Path) -> None:
    filled(tmp_path)
    file = tmp_path / RECORDS
    file.write_bytes(file.read_bytes()[:-20])
    found, notes = reopened(tmp_path)
    assert found == dict(list(TRIALS.items())[:2])
    assert len(notes) == 1 and notes[0].startswith("1 damaged lines")
    assert reopened(tmp_path) == (found, [])


@pytest.mark.parametrize("foreign", ["null", "[1, 2]", "hello", '[7, [[[], []], [1.0], null, null]]', '["", 1]'])
def test_foreign_lines_are_left_out(tmp_path: Path, foreign: str) -> None:
    """MetaSchedule ends the process at the first of them, and throws at the others."""
    filled(tmp_path)
    with (tmp_path / RECORDS).open("a") as file:
        file.write(f"{foreign}\n")
    found, notes = reopened(tmp_path)
    assert found == TRIALS and len(notes) == 1


def test_records_of_a_lost_workload_are_left_out(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / WORKLOADS).write_text("")
    found, notes = reopened(tmp_path)
    assert found == {} and notes[0].startswith("3 damaged lines")


def test_a_database_that_metaschedule_refuses_is_set_aside(tmp_path: Path) -> None:
    filled(tmp_path)
    record = json.loads((tmp_path / RECORDS).read_text().splitlines()[0])
    record[1][0] = [[["NoSuchInstruction", [], [], []]], []]
    (tmp_path / RECORDS).write_text(json.dumps(record) + "\n")
    found, notes = reopened(tmp_path)
    assert found == {} and "set aside" in notes[0]
    assert (tmp_path / f"{RECORDS}.refused").exists()
    filled(tmp_path)
    assert reopened(tmp_path) == (TRIALS, [])


def test_another_definition_of_the_kernels_is_noted_and_not_used(tmp_path: Path) -> None:
    filled(tmp_path, definition="before")
    found, notes = reopened(tmp_path)
    assert found == {} and notes[0].startswith("3 trials")


@pytest.mark.parametrize("room", [0, 30])
def test_a_full_disk_is_told_and_what_was_there_remains(tmp_path: Path, room: int) -> None:
    """MetaSchedule writes nothing then, or half a line, and goes on."""
    filled(tmp_path)
    most, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_database(tmp_path, "now", pytest.fail) as database:
        evolution = evolution_of(database, "k")
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / RECORDS).stat().st_size + room, hard))
        try:
            with pytest.raises(OutsideError, match="the disk is full"):
                evolution.tell((0, 0, 0), 1e-3)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    assert reopened(tmp_path)[0] == TRIALS


def test_a_folder_that_cannot_be_written_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutsideError, match="export MNCC_TUNED="), open_database(tmp_path / "file", "now", pytest.fail):
        pass


def test_two_processes_do_not_share_a_database(tmp_path: Path) -> None:
    second = open_database(tmp_path, "now", pytest.fail)
    with open_database(tmp_path, "now", pytest.fail), pytest.raises(OutsideError, match="another `mncc tune`"), second:
        pass


def _tell_until_killed(folder: str) -> None:
    with open_database(Path(folder), "now", print) as database:
        evolution = evolution_of(database, "k")
        while True:
            for decisions in evolution.propose():
                evolution.tell(decisions, 1e-3)


def test_a_killed_process_loses_nothing_that_it_was_told(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_tell_until_killed, args=(str(tmp_path),))
    process.start()
    file, deadline = tmp_path / RECORDS, time.monotonic() + 60
    while not (file.exists() and file.read_bytes().count(b"\n") >= 10) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    whole = file.read_bytes().count(b"\n")
    found, _ = reopened(tmp_path)
    assert len(found) >= whole >= 10
