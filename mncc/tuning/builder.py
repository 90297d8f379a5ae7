"""Candidates of one task become a batch: compiled one by one, linked into one executable."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from mncc.backend import KernelFunction
from mncc.language.diagnostic import OutsideError
from mncc.library.toolchain import Toolchain
from mncc.tuning.compiler import BuildError, Compilers
from mncc.tuning.program import PROGRAM, Racer, link_program, packed_bytes, shared_bytes
from mncc.tuning.task import Candidate, Failure, Outcome, Task, Tiles

MOST_CANDIDATES = 8
"""Of a batch; the more, the later the first outcome."""
MOST_BYTES = 48 << 20
"""Of packed weights in a batch, which a device must take."""


@dataclass
class Batch:
    """Candidates of one task in an executable, by their numbers in it; those that are left."""

    program: Path
    left: deque[tuple[int, Candidate]]
    lost: set[int] = field(default_factory=set)
    """Numbers of those with which a device was lost."""

    def remove(self) -> None:
        """Removes its folder."""
        shutil.rmtree(self.program.parent, ignore_errors=True)


def take_group(waiting: deque[Candidate]) -> list[Candidate]:
    """Takes the next candidates that share a task, as many as go into a batch."""
    group = [waiting.popleft()]
    task, bytes = group[0].task, packed_bytes(group[0].task, group[0].tiles)
    while waiting and waiting[0].task is task and len(group) < MOST_CANDIDATES:
        bytes += packed_bytes(task, waiting[0].tiles)
        if bytes > MOST_BYTES:
            break
        group.append(waiting.popleft())
    return group


class Builder:
    """Makes batches in folders below `folder`, one at a time, with as many kernels at once as there are `compilers`. A
    context manager."""

    def __init__(self, compilers: Compilers, toolchain: Toolchain, folder: Path) -> None:
        self.compilers, self.toolchain, self.folder = compilers, toolchain, folder
        self._pool = ThreadPoolExecutor(compilers.count, "compile")
        self._references: dict[Task, bytes] = {}
        self._built = 0

    def __enter__(self) -> Builder:
        return self

    def __exit__(self, *about: object) -> None:
        self._pool.shutdown()

    def build(self, group: Sequence[Candidate]) -> tuple[Batch | None, list[Outcome]]:
        """The batch of a group, if anything is left of it, and the outcomes of candidates that do not compile."""
        task = group[0].task
        tiles = list(dict.fromkeys((task.default, *(candidate.tiles for candidate in group))))
        codes = self._pool.map(self._compiled, [task] * len(tiles), tiles, range(len(tiles)))
        made = dict(zip(tiles, codes, strict=True))
        failed = {of: code for of, code in made.items() if isinstance(code, Failure)}
        if default := failed.get(task.default):
            failed = dict.fromkeys(tiles, replace(default, text=f"the default tiles: {default.text}"))
        racers = [Racer(of, _symbol(n), code) for n, (of, code) in enumerate(made.items()) if isinstance(code, bytes)]
        self._built += 1
        folder = self.folder / f"batch{self._built}"
        if len(failed) < len(tiles):
            try:
                link_program(task, racers, self.toolchain, folder)
            except (OutsideError, AssertionError, ValueError) as error:  # of weights that cannot be packed, too
                # Where not even the reference can be linked it is nothing of the candidates'.
                link_program(task, racers[:1], self.toolchain, self.folder / f"reference{self._built}")
                failed = dict.fromkeys(tiles, Failure("build", f"{type(error).__name__}: {error}"))
        numbers = {racer.tiles: number for number, racer in enumerate(racers)}
        left = deque((numbers[one.tiles], one) for one in group if one.tiles not in failed)
        outcomes = [Outcome(one, None, failed[one.tiles], "") for one in group if one.tiles in failed]
        return (Batch(folder / PROGRAM, left) if left else None), outcomes

    def _compiled(self, task: Task, tiles: Tiles, number: int) -> bytes | Failure:
        """A kernel's object, or why there is none. The reference's, number 0, is kept."""
        if number == 0 and task in self._references:
            return self._references[task]
        aligned = (*task.aligned[:-1], True, task.aligned[-1]) if shared_bytes(task, tiles) else task.aligned
        try:
            code = self.compilers.compile(KernelFunction(task.spec, tiles, aligned), _symbol(number), task.target)
        except BuildError as error:
            return Failure("build", str(error))
        if number == 0:
            self._references[task] = code
        return code


def _symbol(number: int) -> str:
    return f"racer{number}_kernel"
