"""Temporary folders of runs that were killed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from mncc.tuning.scratch import LOCK, PREFIX, YOUNG, own_folder, sweep


def test_what_dead_runs_left_is_removed_and_what_lives_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, young, other = (tmp_path / name for name in (f"{PREFIX}dead", f"{PREFIX}young", f"{PREFIX}other"))
    for folder in (dead, young, other):
        folder.mkdir()
        (folder / "race").write_text("a program")
    aged(dead)
    (young / LOCK).touch()
    with own_folder() as own:
        aged(own)
        sweep(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {own.name, young.name, other.name}
    assert not own.exists()


def aged(folder: Path) -> None:
    """As if its run had begun long ago."""
    lock = folder / LOCK
    lock.touch()
    then = lock.stat().st_mtime - 2 * YOUNG
    os.utime(lock, (then, then))
