"""What --tuned says, and what is said of tuned tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mncc.report.console import warn
from mncc.report.failures import UsageError
from mncc.report.numbers import plural

if TYPE_CHECKING:
    from mncc.kernels.target import Target
    from mncc.kernels.tuned import Table
    from mncc.plan import Plan

NONE = "none"


def find_tuned(option: str | Path | None, targets: Sequence[Target]) -> Mapping[str, Table]:
    """The tuned kernels for each of the targets, by its name: of a file, of a folder's TARGET.json, none at all; where
    the option is left out, those that came with mncc and this person's own. Says once what is not used and why. Raises
    UsageError for a file that is not there."""
    from mncc.tuning.tables import load_table, load_tables

    if option is None:
        found = {target.name: load_tables(target) for target in targets}
    elif str(option) == NONE:
        return {}
    else:
        files = {target.name: _file(Path(option), target.name) for target in targets}
        if not any(file.exists() for file in files.values()):
            help = "`mncc tune` makes one; write none for the cost model's own tiles"
            raise UsageError(f"--tuned {option}: there is no table at {', '.join(map(str, files.values()))}", help)
        found = {t.name: load_table(files[t.name], t) for t in targets if files[t.name].exists()}
    for note in dict.fromkeys(note for table in found.values() for note in table.notes):
        warn(note)
    return found


def _file(path: Path, target: str) -> Path:
    return path / f"{target}.json" if path.is_dir() else path


def refuse_for_gpus(option: str | Path | None) -> None:
    """Raises UsageError where a table is named for a GPU."""
    if option is not None and str(option) != NONE:
        raise UsageError(f"--tuned {option}: kernels for GPUs are not tuned so far", "leave it out")


def warn_of_misfits(plan: Plan) -> None:
    """Says which kernels keep the cost model's tiles although a table has others."""
    names = [kernel.name for kernel in plan.kernels if plan.keeps_default(kernel)]
    if names:
        count = plural(len(names), "kernel")
        warn(f"{count} cannot have the tiles of the tuned table, and keep the cost model's: {', '.join(names)}")
