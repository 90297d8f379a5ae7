"""A job's library, compiled or found in the cache, written to a folder of its own and loaded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mncc.language.diagnostic import OutsideError
from mncc.report.progress import Progress
from mncc.verbs.cache import compiled
from mncc.verbs.job import Job

if TYPE_CHECKING:
    from mncc.devices.loaded import Library, Probe
    from mncc.library.spec import LibrarySpec


@dataclass(frozen=True)
class Loaded:
    """What runs: the library and, where it was asked for, the probe of its single kernels."""

    spec: LibrarySpec
    library: Library
    probe: Probe | None


@contextmanager
def loaded(job: Job, progress: Progress, probe: bool = False) -> Iterator[Loaded]:
    """The job's library for the length of the block. Raises DiagnosticError, OutsideError; a library that refuses to
    run inside of the block (a CPU without its instructions) is an OutsideError too."""
    from mncc.devices.loaded import Library, Probe, RunError
    from mncc.library.toolchain import find_toolchain
    from mncc.library.write import write_library

    find_toolchain(job.target.triple)
    spec = compiled(job, progress)
    progress("linking the library")
    with tempfile.TemporaryDirectory(prefix="mncc-", ignore_cleanup_errors=True) as folder:
        files = write_library(spec, Path(folder, job.name), probe=probe)
        try:
            with Library(files.shared) as library:
                yield Loaded(spec, library, Probe(files.probe) if files.probe else None)
        except RunError as error:
            help = f"`mncc targets` lists others than {job.target.name}"
            raise OutsideError(f"the library does not run here: {error}", help) from error
