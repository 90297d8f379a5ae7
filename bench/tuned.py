"""Whether tuned tables still hold after the kernels' sources have changed: is the code of every kernel what it was?

    python -m bench.tuned                                 # the tables that come with mncc
    python -m bench.tuned ~/.local/share/mncc/tuned/*.json

A table is not used once anything that generates kernels is another (mncc/backend/definition.py), even where that left
the code as it was. This compiles each of its kernels, keeps those whose object is what it was when they were measured,
and writes the table for the sources as they are. What has changed is dropped: `mncc tune` measures it again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mncc.backend import KernelFunction
from mncc.backend.definition import code_of
from mncc.kernels.half import in_half
from mncc.kernels.space import decisions_of
from mncc.kernels.target import Target, load_target
from mncc.kernels.tuned import Table, TunedKernel, add_to_table, read_table
from mncc.language.diagnostic import OutsideError
from mncc.report.console import say
from mncc.report.failures import guarded
from mncc.tuning.tables import current_stamp, load_table, shipped_table


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; answers its exit status, 1 where something was dropped."""
    parser = argparse.ArgumentParser(prog="python -m bench.tuned", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("table", nargs="*", type=Path, help="TARGET.json; by default all that come with mncc")
    files = parser.parse_args(arguments).table or sorted(shipped_table("any").parent.glob("*.json"))
    return int(sum(map(renew, files)) > 0)


def renew(file: Path) -> int:
    """Writes the table anew where it is of other sources; answers how many kernels were dropped. Raises OutsideError
    for a file that is no table."""
    target = load_target(file.stem)
    table, before = load_table(file, target), _as_it_was(file, target)
    if table.kernels == before.kernels:
        say(f"{file} holds: {len(table.kernels)} kernels")
        return 0
    same = [kernel for kernel in before.kernels.values() if is_the_same(kernel, target)]
    if same:
        add_to_table(file, current_stamp(target), same)
    else:
        os.unlink(file)
    dropped = len(before.kernels) - len(same)
    say(f"{file}: {len(same)} kernels are as they were, {dropped} are not and were dropped")
    return dropped


def _as_it_was(file: Path, target: Target) -> Table:
    """The table, whatever sources it is of."""
    definition = json.loads(file.read_text(encoding="utf-8")).get("definition", "")
    found = read_table(file, replace(current_stamp(target), definition=definition))
    if not found:
        raise OutsideError(found.notes[0] if found.notes else f"{file} has no kernels", "tune again: `mncc tune`")
    return found


def is_the_same(kernel: TunedKernel, target: Target) -> bool:
    """True where the kernel can have its tiles, and its code is what was measured."""
    own = in_half(target) if kernel.spec.dtype == "float16" else target
    if decisions_of(kernel.spec, own, kernel.tiles) is None:
        return False
    return code_of(KernelFunction(kernel.spec, kernel.tiles, ()), own) == kernel.code


if __name__ == "__main__":
    sys.exit(guarded(main))
