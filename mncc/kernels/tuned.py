"""Tables of tuned tiles: what was measured to be fastest, kernel by kernel, for one target.

A table is a JSON file. Its head says for what its tiles were measured: the format, those of the target's facts that
decide code, and the kernels' definition; where one of them is another, the table proves nothing, and is not used. Of
kernels it has the whole spec, so that a kernel of any network finds the tiles of an equal one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mncc.kernels.chain import Chain, ChainTiles
from mncc.kernels.family import family_of
from mncc.kernels.half import in_half
from mncc.kernels.records import from_json, to_json
from mncc.kernels.space import decisions_of
from mncc.kernels.strassen import Strassen, StrassenTiles
from mncc.kernels.target import Target
from mncc.kernels.tunable import Tunable
from mncc.kernels.winograd import Winograd, WinogradTiles

FORMAT = 1
FAMILIES: Mapping[str, tuple[type, type]] = {
    Chain.family: (Chain, ChainTiles),
    Winograd.family: (Winograd, WinogradTiles),
    Strassen.family: (Strassen, StrassenTiles),
}
CODE_FACTS = (
    "triple",
    "cpu",
    "features",
    "llvm",
    "float_abi",
    "lanes",
    "narrow",
    "registers",
    "inputs",
    "intrinsics",
)
"""Of a target: what decides which tiles there are, and the code of each. Its caches and the costs that are predicted
with decide neither."""

Unit = Literal["s", "instructions"]


@dataclass(frozen=True)
class Stamp:
    """For what a table's tiles were measured."""

    target: str
    facts: str
    """A hash over CODE_FACTS."""
    definition: str
    """A hash over what generates the kernels' code."""


@dataclass(frozen=True)
class TunedKernel:
    """The best tiles that were found for a kernel, and how that was found out."""

    spec: Chain
    tiles: Tunable
    unit: Unit
    cost: float
    """Of one run for one image: seconds or, where the device was an emulator, instructions."""
    default: float
    """What the cost model's tiles cost beside it."""
    device: str
    """As --device names it."""
    machine: str
    """Its processor."""
    when: str
    """The day, as 2026-11-22."""
    trials: int
    """Tiles that were tried."""
    code: str = ""
    """A hash of the kernel's object."""


@dataclass(frozen=True)
class Table:
    """Tuned kernels by their specs; equal for equal files. `notes` say what of the files was not used, and why."""

    kernels: Mapping[Chain, TunedKernel]
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether it has any kernel."""
        return bool(self.kernels)

    def tiles(self) -> Mapping[Chain, Tunable]:
        """What a plan needs of it. A kernel for which nothing faster was found is there to hide what another table
        has."""
        return {spec: kernel.tiles for spec, kernel in self.faster().items()}

    def faster(self) -> Mapping[Chain, TunedKernel]:
        """Its kernels whose tiles were faster than the default."""
        return {spec: kernel for spec, kernel in self.kernels.items() if kernel.cost < kernel.default}


NO_TABLE = Table({})


def stamp_of(target: Target, definition: str) -> Stamp:
    """That of tables which are made now. `target` is that of the file of targets/, whatever numbers are stored in."""
    facts = repr([(name, getattr(target, name)) for name in CODE_FACTS])
    return Stamp(target.name, hashlib.sha256(facts.encode()).hexdigest()[:24], definition)


def is_in_space(kernel: TunedKernel, target: Target) -> bool:
    """True where the tiles can be had for the spec. `target` as for `stamp_of`."""
    own = in_half(target) if kernel.spec.dtype == "float16" else target
    return decisions_of(kernel.spec, own, kernel.tiles) is not None


def read_table(path: Path, stamp: Stamp) -> Table:
    """A file's kernels, none where it was made for something else or is no table, with notes in both cases. Never
    raises."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        head = {name: data[name] for name in ("format", "target", "facts", "definition")}
        listed = list(data["kernels"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no table of tuned tiles"
        return Table({}, (f"{path} is not used: {why}",))
    stale = _stale(head, stamp)
    if stale:
        return Table({}, (f"{path} is not used: {stale}",))
    found, unread = [], 0
    for entry in listed:
        try:
            found.append(_kernel(entry))
        except (ValueError, TypeError, KeyError, RecursionError):
            unread += 1
    notes = (f"{path}: {unread} of its {len(listed)} kernels cannot be read and are not used",) if unread else ()
    return Table({kernel.spec: kernel for kernel in found}, notes)


def _stale(head: Mapping[str, Any], stamp: Stamp) -> str | None:
    """Why a table proves nothing now."""
    if head["format"] != FORMAT:
        return f"it is of format {head['format']}, and this version of mncc reads {FORMAT}"
    if head["target"] != stamp.target:
        return f"it is for {head['target']}, not for {stamp.target}"
    if head["facts"] != stamp.facts:
        return f"{stamp.target} was something else when its kernels were measured"
    if head["definition"] != stamp.definition:
        return "the code of kernels has changed since they were measured"
    return None


def _kernel(entry: Any) -> TunedKernel:
    """Raises ValueError, KeyError, TypeError."""
    spec_type, tiles_type = FAMILIES[entry["family"]]
    rest = {name: value for name, value in entry.items() if name not in ("family", "kernel", "spec", "tiles")}
    facts = from_json(_Facts, rest)
    return TunedKernel(from_json(spec_type, entry["spec"]), from_json(tiles_type, entry["tiles"]), **vars(facts))


@dataclass(frozen=True)
class _Facts:
    """A TunedKernel's fields that are the same for all families."""

    unit: Unit
    cost: float
    default: float
    device: str
    machine: str
    when: str
    trials: int
    code: str = ""


def joined(tables: Iterable[Table]) -> Table:
    """All kernels; of tables that have the same one the last counts."""
    kernels: dict[Chain, TunedKernel] = {}
    notes: list[str] = []
    for table in tables:
        kernels |= table.kernels
        notes += table.notes
    return Table(kernels, tuple(dict.fromkeys(notes)))


def add_to_table(path: Path, stamp: Stamp, found: Iterable[TunedKernel]) -> Table:
    """Adds kernels to a file, or makes it; what it has under another stamp is dropped, as the answer's notes say. One
    that was measured in seconds is not replaced by one whose instructions were counted. Whole or not at all, and safe
    beside other processes that do the same. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        before = read_table(path, stamp) if path.exists() else NO_TABLE
        kernels = dict(before.kernels)
        for kernel in found:
            known = kernels.get(kernel.spec)
            if known is None or kernel.unit == "s" or known.unit == "instructions":
                kernels[kernel.spec] = kernel
        _replace(path, _text(stamp, kernels.values()))
    return replace(before, kernels=kernels)


def _text(stamp: Stamp, kernels: Iterable[TunedKernel]) -> str:
    """The same for the same kernels in any order; a kernel a paragraph, for people and for diffs."""
    head = {"format": FORMAT, **to_json(stamp)}
    listed = sorted((_entry(kernel) for kernel in kernels), key=lambda entry: (entry["kernel"], repr(entry)))
    lines = [f" {json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    entries = ",\n".join("  " + json.dumps(entry).replace(', "tiles"', ',\n   "tiles"') for entry in listed)
    return "\n".join(["{", *lines, ' "kernels": [', entries, " ]", "}", ""])


def _entry(kernel: TunedKernel) -> dict[str, Any]:
    stages = ", ".join(_stage(line) for line in family_of(kernel.spec).describe(kernel.spec, kernel.tiles)[1:])
    spec = kernel.spec
    name = f"{spec.height}x{spec.width}x{spec.channels}: {stages}"
    return {"kernel": name, "family": spec.family, **to_json(kernel)}


def _stage(line: str) -> str:
    """What a printed plan says of a stage, without its tile."""
    return line.split(": tile")[0].strip()


def _replace(path: Path, text: str) -> None:
    """Writes beside and renames, so that nobody ever sees half a table."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time. Some file systems know no locks; there the last one wins."""
    import fcntl

    with open(path.with_name(f".{path.name}.lock"), "w") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
