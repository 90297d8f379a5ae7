"""The database of a search: MetaSchedule's JSON files, one line a trial, and a log of what failed.

A process may die at any moment, a disk may be full, somebody may edit: what cannot be read is left out with a note,
before MetaSchedule sees it, which throws at a torn line and crashes at others. What an earlier version of the kernels
measured stays in the files and is not used.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvm.s_tir import meta_schedule as ms

from mncc.language.diagnostic import OutsideError
from mncc.tuning.evolution import Costs, Decisions, described
from mncc.tuning.task import Outcome

WORKLOADS, RECORDS = "database_workload.json", "database_tuning_record.json"
"""As MetaSchedule calls them."""
FAILURES, LOCK = "failures.log", "lock"
ELSEWHERE = "name another folder: `export MNCC_TUNED=FOLDER`, where builds look too"
GO_ON = "free some space, then run the same command again: it goes on from here"


@dataclass(frozen=True)
class Database:
    """An open database. `handle` is MetaSchedule's; `trials` are those of the current definition, by a kernel's key."""

    folder: Path
    handle: Any
    trials: dict[str, dict[Decisions, float | None]]

    def known(self, key: str) -> Costs:
        """What earlier runs measured of a kernel."""
        return self.trials.get(key, {})

    def write(self, record: Any) -> None:
        """Adds a trial to the file. MetaSchedule does not look whether that worked. Raises OutsideError where it did
        not."""
        file = self.folder / RECORDS
        before = _size(file)
        self.handle.commit_tuning_record(record)
        if _size(file) <= before or not _ends_with_a_line(file):
            raise OutsideError(f"{file} cannot be written: the disk is full, or a limit reached", GO_ON)

    def log_failure(self, outcome: Outcome) -> None:
        """Adds a candidate's failure to the log, with its trace."""
        assert outcome.failure is not None
        candidate, failure = outcome.candidate, outcome.failure
        place = outcome.device or "no device"
        self.log(f"{candidate.task.name} {failure.kind} on {place}: {candidate.tiles}", failure.text)

    def log(self, head: str, text: str) -> None:
        """Adds what went wrong to the log of failures."""
        with (self.folder / FAILURES).open("a", encoding="utf-8") as file:
            file.write(f"{head}\n    " + "\n    ".join(text.splitlines()) + "\n")


@contextmanager
def open_database(folder: Path, definition: str, note: Callable[[str], None]) -> Iterator[Database]:
    """The database in `folder`, made where there is none, for one process at a time. `definition` is the hash of what
    makes kernels: trials of another one are not used. Raises OutsideError where another process has it, or it cannot be
    written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w")
    except OSError as error:
        raise OutsideError(f"{folder} cannot be written: {error.strerror}", ELSEWHERE) from error
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutsideError(f"another `mncc tune` is at work in {folder}", "wait for it, or end it") from error
        _mend(folder, note)
        handle, records = _loaded(folder, note)
        yield Database(folder, handle, _trials(records, definition, folder, note))


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _ends_with_a_line(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def _loaded(folder: Path, note: Callable[[str], None]) -> tuple[Any, list[tuple[str, str, Decisions, float | None]]]:
    """MetaSchedule's database and what its records say. Files that it refuses are set aside."""
    try:
        handle = ms.database.JSONDatabase(work_dir=str(folder))
        return handle, [described(record) for record in handle.get_all_tuning_records()]
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        for name in (WORKLOADS, RECORDS):
            if (folder / name).exists():
                os.replace(folder / name, folder / f"{name}.refused")
        note(f"the database in {folder} was not written by this version and is set aside ({_first_line(error)})")
        return ms.database.JSONDatabase(work_dir=str(folder)), []


def _trials(
    records: list[tuple[str, str, Decisions, float | None]], definition: str, folder: Path, note: Callable[[str], None]
) -> dict[str, dict[Decisions, float | None]]:
    """The records of this definition by key. Of several for the same decisions the last counts: a failure may pass."""
    trials: dict[str, dict[Decisions, float | None]] = {}
    stale = 0
    for key, made_by, decisions, cost in records:
        if made_by == definition:
            trials.setdefault(key, {})[decisions] = cost
        else:
            stale += 1
    if stale:
        note(f"{stale} trials in {folder} are of kernels as another version of mncc made them and are not used")
    return trials


def _mend(folder: Path, note: Callable[[str], None]) -> None:
    """Leaves out what is no line of a database: the end that a killed process tore off, and anything foreign. Records
    name workloads by their number, so workloads end at the first bad line."""
    workloads = _lines(folder / WORKLOADS)
    good = next((number for number, line in enumerate(workloads) if not _is_workload(line)), len(workloads))
    _rewrite(folder / WORKLOADS, workloads, workloads[:good], note)
    records = _lines(folder / RECORDS)
    _rewrite(folder / RECORDS, records, [line for line in records if _is_record(line, good)], note)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _rewrite(path: Path, lines: list[str], good: list[str], note: Callable[[str], None]) -> None:
    """Also where only the end of the last line is missing: the next record would be appended to it."""
    text = "".join(f"{line}\n" for line in good)
    if not path.exists() or path.read_bytes() == text.encode():
        return
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
    if len(lines) > len(good):
        note(f"{len(lines) - len(good)} damaged lines of {path} are left out")


def _is_workload(line: str) -> bool:
    match _parsed(line):
        case [str(), str() | dict()]:
            return True
    return False


def _is_record(line: str, workloads: int) -> bool:
    match _parsed(line):
        case [int(number), [[list(), list()], [*costs], _, _]] if 0 <= number < workloads:
            return all(isinstance(cost, int | float) for cost in costs)
    return False


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:120]
