"""The temporary folder of a run, and those that killed runs left behind: programs with weights, which fill a disk."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "mncc-tune-"
LOCK = "lock"
"""Held by the process whose folder it is, however that ends; a number could be another process's by now."""
YOUNG = 60.0
"""Seconds for which a folder may lack its owner's hold on the lock."""


@contextmanager
def own_folder() -> Iterator[Path]:
    """A temporary folder, gone behind the block. Removes first what runs that are no more left behind. Raises
    OSError."""
    sweep(Path(tempfile.gettempdir()))
    own = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    with own as name, Path(name, LOCK).open("w") as lock:
        with suppress(OSError):  # some file systems know no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


def sweep(folder: Path) -> None:
    """Removes from `folder` what dead runs of this person left there."""
    for left in folder.glob(f"{PREFIX}*"):
        # Another's, or gone in the meantime.
        with suppress(OSError), (left / LOCK).open("r+") as lock:
            if time.time() - (left / LOCK).stat().st_mtime < YOUNG:
                continue
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
