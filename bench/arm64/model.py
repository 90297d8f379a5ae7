"""The loops of one network on several processors, each built for the CPU that is modelled."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.arm64 import mca
from bench.arm64.loops import find_loops
from bench.peers.cases import Case
from mncc.devices.counting import FIRST_KERNEL, LibraryCount, count_library
from mncc.library.write import write_library
from mncc.report.progress import Progress
from mncc.verbs.cache import compiled
from mncc.verbs.job import prepare

TARGETS = ("arm64-neoverse-n1", "arm64-cortex-a72", "arm64-cortex-a55")
"""Whose pipelines LLVM models. Its Cortex-A76 is its Cortex-A72, and Neoverse N1 the nearest to that. In its Cortex-A53
a load behind a multiplication waits until that has been written back, which the processor does not do."""
LISTED = 6
"""Loops a target whose numbers are kept; `python -m bench.arm64.count DIR --loops` prints their code."""


def model(case: Case, examples: Path, targets: Sequence[str] = TARGETS) -> dict[str, Any]:
    """What is kept: for every target its loops that multiply. Raises DiagnosticError, OutsideError."""
    tool = mca.find_tool()
    return {
        "measured": time.strftime("%Y-%m-%d"),
        "network": case.name,
        "title": case.title,
        "tool": mca.version(tool),
        "targets": [_target(case, examples, target, tool) for target in targets],
    }


def _target(case: Case, examples: Path, target: str, tool: str) -> dict[str, Any]:
    job = prepare(examples / f"{case.example}.mn", case.settings, target, case.weights())
    with tempfile.TemporaryDirectory(prefix="mncc-arm64-") as folder, Progress() as progress:
        spec = compiled(job, progress)
        files = write_library(spec, Path(folder, "library"))
        progress(f"counting {target}")
        counted = count_library(files.directory, job.name, job.target)
        progress(f"modelling {target}")
        loops = modelled(counted, [kernel.name for kernel in spec.kernels], job.target.cpu, tool)
    return {
        "target": target,
        "model": job.target.cpu,
        "peak": mca.peak_of(job.target.cpu, tool),
        "instructions": counted.whole.total,
        "multiplies": counted.whole.classes["multiply"],
        **summary(loops),
        "listed": [_kept(each) for each in loops[:LISTED]],
    }


def modelled(counted: LibraryCount, kernels: Sequence[str], cpu: str, tool: str) -> list[mca.Modelled]:
    """The innermost loops that multiply vectors, most instructions first, with their cycles. Raises OutsideError."""
    tags = range(FIRST_KERNEL, FIRST_KERNEL + len(kernels))
    ran = counted.executed.by_address(tags)
    of_kernels = {name: counted.executed.by_address([tag]) for name, tag in zip(kernels, tags, strict=True)}
    return [
        mca.Modelled(
            loop,
            tuple(name for name, own in of_kernels.items() if loop.first in own),
            mca.cycles_of(loop.code, cpu, tool),
        )
        for loop in find_loops(ran)
        if loop.multiplies
    ]


def summary(loops: Sequence[mca.Modelled]) -> dict[str, float]:
    """All loops together: instructions, vector multiplications, and the model's cycles."""
    return {
        "in_loops": sum(each.loop.instructions for each in loops),
        "multiplies_in_loops": sum(each.loop.rounds * each.loop.multiplies for each in loops),
        "cycles_in_loops": round(sum(each.loop.rounds * each.cycles for each in loops)),
    }


def _kept(each: mca.Modelled) -> Mapping[str, Any]:
    return {
        "kernels": each.kernels,
        "instructions": each.loop.instructions,
        "rounds": each.loop.rounds,
        "length": len(each.loop.code),
        "multiplies": each.loop.multiplies,
        "cycles": round(each.cycles, 2),
    }
