"""Where tuned tables lie: those that came with mncc, and those that `mncc tune` made here, which go before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mncc.kernels.target import Target
from mncc.kernels.tuned import NO_TABLE, Stamp, Table, TunedKernel, add_to_table, joined, read_table, stamp_of
from mncc.language.resources import data_folder


def shipped_table(target: str) -> Path:
    """The file that came with mncc, which need not exist."""
    return data_folder("targets") / "tuned" / f"{target}.json"


def own_folder() -> Path | None:
    """Where this person's tables lie: `$MNCC_TUNED`, `$XDG_DATA_HOME/mncc/tuned` or `~/.local/share/mncc/tuned`; None
    where MNCC_TUNED is off, or the machine has no place for them."""
    named = os.environ.get("MNCC_TUNED", "")
    if named == "off":
        return None
    if named:
        return Path(named)
    home = os.environ.get("XDG_DATA_HOME", "")
    if home:
        return Path(home, "mncc", "tuned")
    try:
        return Path.home() / ".local" / "share" / "mncc" / "tuned"
    except RuntimeError:
        return None


def own_table(target: str) -> Path | None:
    """This person's file for a target, which need not exist."""
    folder = own_folder()
    return folder / f"{target}.json" if folder else None


def load_tables(target: Target) -> Table:
    """What every build for the target uses where nothing else is asked for."""
    files = (shipped_table(target.name), own_table(target.name))
    there = [file for file in files if file is not None and file.exists()]
    return joined(load_table(file, target) for file in there) if there else NO_TABLE


def load_table(file: Path, target: Target) -> Table:
    """A file's kernels for a target, none where it proves nothing, as its notes say then."""
    return read_table(file, current_stamp(target))


def keep(file: Path, target: Target, kernels: Iterable[TunedKernel]) -> Table:
    """Adds kernels to a file; answers all that it has now. A copy of a file that was not, or not all, used remains
    beside it, as the answer's notes say. Raises OSError."""
    old = file.with_name(f"{file.name}.old")
    notes: tuple[str, ...] = ()
    if file.exists() and load_table(file, target).notes:
        shutil.copyfile(file, old)
        notes = (f"{file} is written anew; what it was is {old}",)
    made = add_to_table(file, current_stamp(target), kernels)
    return replace(made, notes=(*made.notes, *notes))


def current_stamp(target: Target) -> Stamp:
    """That of tables which are made now."""
    from mncc.backend.definition import definition

    return stamp_of(target, definition())
