"""`mncc targets`: the CPUs and GPUs that there is code for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mncc.report.table import table

if TYPE_CHECKING:
    from rich.console import Group


def targets() -> Group:
    """A line a target."""
    from mncc.kernels.target import target_names

    return table(None, ("target", "~what it means"), [(name, text) for name, text in target_names()])
