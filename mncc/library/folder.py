"""An output folder that is complete or not there, and never somebody else's."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mncc.language.diagnostic import Diagnostic, DiagnosticError, OutsideError

FORMAT = "mncc-library"
"""The value of "format" in a manifest: how a folder is known to be mncc's."""


@dataclass(frozen=True)
class NotOurFolder(Diagnostic):
    """The output folder holds something that mncc did not write."""

    folder: str
    found: str

    @property
    def title(self) -> str:
        return f"{self.folder} holds {self.found}, which mncc did not write"

    @property
    def help(self) -> str:
        return "name another folder with -o, or empty this one: a build replaces the whole folder"


@dataclass(frozen=True)
class NotAFolder(Diagnostic):
    """The output path is a file."""

    folder: str

    @property
    def title(self) -> str:
        return f"{self.folder} is not a folder"

    @property
    def help(self) -> str:
        return "name a folder with -o"


def check_replaceable(directory: Path) -> None:
    """Raises DiagnosticError unless `directory` is missing, empty, or holds nothing but what mncc wrote there."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise DiagnosticError([NotAFolder(str(directory))])
    ours = set()
    present = sorted(path.name for path in directory.iterdir())
    for name in present:
        if name.endswith(".json"):
            ours |= _files_of_manifest(directory / name)
    strangers = [name for name in present if name not in ours]
    if strangers:
        raise DiagnosticError([NotOurFolder(str(directory), strangers[0])])


def _files_of_manifest(path: Path) -> set[str]:
    """The names that a manifest of ours lists; empty for any other file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return set()
    return {str(name) for name in content.get("files", ())}


@contextmanager
def replaced_folder(directory: Path) -> Iterator[Path]:
    """A new folder beside `directory` that takes its place when the block ends well, and vanishes when it does not.

    Raises DiagnosticError for a folder that is not ours, OutsideError where the disk is full or read-only.
    """
    target = Path(os.path.realpath(directory))
    check_replaceable(target)
    made: list[Path] = []
    new = target.parent / f".{target.name}.{secrets.token_hex(6)}.mncc"
    done = False
    try:
        made = _make_parents(target.parent)
        new.mkdir()
        yield new
        _swap(new, target)
        done = True
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutsideError(
            f"cannot write the folder {directory}: {reason}",
            "name a folder with -o that can be written, on a disk with space left",
        ) from error
    finally:
        if not done:
            shutil.rmtree(new, ignore_errors=True)
            for parent in reversed(made):
                try:
                    parent.rmdir()
                except OSError:
                    break  # somebody has put something there meanwhile


def _make_parents(folder: Path) -> list[Path]:
    """Makes `folder` and what is above it; returns what was missing, outermost first."""
    missing = []
    for path in (folder, *folder.parents):
        if path.exists():
            break
        missing.append(path)
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
    return missing[::-1]


def _swap(new: Path, target: Path) -> None:
    """Puts `new` in the place of `target`; the old folder comes back where that fails."""
    if not target.exists():
        new.rename(target)
        return
    old = new.with_suffix(".old")
    try:
        target.rename(old)
        new.rename(target)
    except BaseException:  # an interrupt too
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
