"""What the nominal run of a program finds out for the second one."""

from __future__ import annotations

from dataclasses import dataclass, field

from mncc.network.types import TensorType


@dataclass(frozen=True)
class RowFacts:
    """A row's input as the table prints it (or computes it from what it prints), and whether it is the classifier."""

    declared: TensorType
    classifier: bool


@dataclass
class Facts:
    """Facts by body and row."""

    rows: dict[tuple[str, int], RowFacts] = field(default_factory=dict)
