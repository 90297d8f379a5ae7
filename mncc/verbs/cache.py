"""Compiled networks are kept between commands, so that build, verify, run and bench of one network compile it once.

An entry is the pickled LibrarySpec, found by a hash over everything that decides it: the compiler's own sources, the
versions of what it stands on, network, target and weights. It lies in the user's own cache folder
(`$MNCC_CACHE`, `$XDG_CACHE_HOME/mncc` or `~/.cache/mncc`); `MNCC_CACHE=off` turns it off. Nothing but time depends
on it: an entry that is missing, damaged or unwritable only means compiling again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mncc.report.progress import Progress
from mncc.verbs.job import GpuJob, Job

if TYPE_CHECKING:
    from mncc.library.cuda_spec import CudaSpec
    from mncc.library.nvcc import Nvcc
    from mncc.library.spec import LibrarySpec

T = TypeVar("T")

KEPT_ENTRIES = 24
KEPT_BYTES = 1 << 30
"""The newest entries stay, as far as both limits allow."""

_PACKAGES = ("apache-tvm", "apache-tvm-ffi", "torch", "numpy")
_DIGEST_BYTES = hashlib.sha256().digest_size


def compiled(job: Job, progress: Progress) -> LibrarySpec:
    """The job's library, compiled now or found in the cache. Raises DiagnosticError, OutsideError."""
    if job.within:
        from mncc.library.variants import join_variants

        alone = job.singles
        return join_variants([_compiled(single, _share_of(progress, n, alone)) for n, single in enumerate(alone)])
    return _compiled(job, progress)


def _compiled(job: Job, tell: Callable[[str, float], None]) -> LibrarySpec:
    from mncc.verbs.compile import compile_network

    def compile() -> LibrarySpec:
        return compile_network(job.network, job.target, job.weights, job.name, tell, job.precision, job.tuned_tiles)[0]

    return _kept(key_of(job), compile)


def _share_of(progress: Progress, number: int, jobs: Sequence[Job]) -> Callable[[str, float], None]:
    """The progress of one of several jobs, as a share of all."""
    name = jobs[number].target.name
    return lambda text, done: progress(f"{name}: {text}", (number + done) / len(jobs))


def compiled_gpu(job: GpuJob, nvcc: Nvcc, progress: Progress) -> tuple[CudaSpec, bytes]:
    """The same for GPUs, and what nvcc made of the kernels."""
    from mncc.library.nvcc import compile_fatbin
    from mncc.verbs.compile_gpu import compile_gpu_network

    def compile() -> tuple[CudaSpec, bytes]:
        spec = compile_gpu_network(job.network, job.targets, job.weights, job.name, progress, job.precision)
        progress("compiling the kernels with nvcc", 0.96)
        return spec, compile_fatbin(spec.source, spec.architectures, nvcc)

    return _kept(key_of(job, nvcc.version), compile)


def _kept(key: str, compile: Callable[[], T]) -> T:
    """What `compile` answers, or what it answered before under the same key."""
    folder = cache_folder()
    entry = folder / f"{key}.spec" if folder else None
    found: T | None = _read(entry) if entry else None
    if found is not None:
        return found
    made = compile()
    if entry:
        with contextlib.suppress(OSError):
            _write(entry, made)
            _prune(entry.parent)
    return made


def cache_folder() -> Path | None:
    """Where entries lie; None where the cache is turned off or the machine offers no place for it."""
    named = os.environ.get("MNCC_CACHE", "")
    if named == "off":
        return None
    if named:
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME", "")
    if home:
        return Path(home, "mncc")
    try:
        return Path.home() / ".cache" / "mncc"
    except RuntimeError:
        return None


def key_of(job: Job | GpuJob, *tools: object) -> str:
    """A hash over everything that decides the compiled library of a job; `tools` beside what mncc stands on."""
    digest = hashlib.sha256()
    weights = (job.weights.source, job.weights.digest())
    if isinstance(job, Job):
        target: object = (job.target, job.precision, _tuned(job))
    else:
        target = (job.targets, job.precision)
    parts = (_compiler(), repr(tools), job.name, repr(job.network), repr(target), *weights)
    for part in parts:
        digest.update(hashlib.sha256(part.encode("utf-8", "surrogateescape")).digest())
    return digest.hexdigest()


def _tuned(job: Job) -> tuple[tuple[str, object], ...]:
    """The tiles that a table decides: what it has for other networks changes nothing."""
    if not job.tuned_tiles:
        return ()
    plan = job.plan()
    return tuple((kernel.name, kernel.tiles) for kernel in plan.kernels if plan.is_tuned(kernel))


@cache
def _compiler() -> str:
    """The versions of what mncc stands on, and a hash of mncc's own files."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    for path in sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return f"{[metadata.version(package) for package in _PACKAGES]} {digest.hexdigest()}"


def _read(entry: Path) -> Any:
    """An entry, if it is whole; its age counts from its last use."""
    try:
        content = entry.read_bytes()
        if hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
            return None
        os.utime(entry)
        return pickle.loads(content[_DIGEST_BYTES:])
    except (OSError, pickle.UnpicklingError, AttributeError, ImportError, EOFError):
        return None


def _write(entry: Path, spec: object) -> None:
    """Writes beside and renames, so that nobody sees half an entry. Entries are private: unpickling runs code."""
    entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = pickle.dumps(spec, protocol=pickle.HIGHEST_PROTOCOL)
    handle, beside = tempfile.mkstemp(dir=entry.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
        os.replace(beside, entry)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def _prune(folder: Path) -> None:
    """Removes the oldest entries past the limits, and what a killed process left half written."""
    entries, hour_ago = [], time.time() - 3600
    for path in folder.iterdir():
        status = path.stat()
        if path.suffix == ".part" and status.st_mtime < hour_ago:
            path.unlink(missing_ok=True)
        elif path.suffix == ".spec":
            entries.append((status.st_mtime, status.st_size, path))
    total = 0
    for number, (_, bytes, path) in enumerate(sorted(entries, reverse=True)):
        total += bytes
        if number and (number >= KEPT_ENTRIES or total > KEPT_BYTES):
            path.unlink(missing_ok=True)
