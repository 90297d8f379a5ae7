"""How far a library is from its twin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mncc.report.table import table

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Group

Tolerance = tuple[float, float]
"""The largest error that passes, and the median; errors are |got - twin| / max|twin|, the twin in float64."""
SINGLE: Tolerance = (1e-4, 2e-6)
TOLERANCES: Mapping[str, tuple[Tolerance, Tolerance]] = {
    "float32": (SINGLE, SINGLE),
    "float16": ((5e-2, 1e-2), (5e-2, 5e-3)),
}
"""Of outputs, and of kernels alone, by the type that is computed in."""


@dataclass(frozen=True)
class Comparison:
    """The errors of one output, or of one kernel run alone on the twin's values."""

    what: str
    name: str
    shape: str
    largest: float
    median: float
    where: str = ""
    """The rows behind it."""
    tolerance: Tolerance = SINGLE

    @property
    def passed(self) -> bool:
        """True within both tolerances; NaN never is."""
        return self.largest < self.tolerance[0] and self.median < self.tolerance[1]


@dataclass(frozen=True)
class VerifyReport:
    """The answer of `mncc verify`. `rounded` compares outputs with those of the weights as they were given, where these
    are rounded when they are stored: it has no tolerance, and `outputs` and `kernels` are compared with the rounded
    weights."""

    network: str
    target: str
    inputs: str
    outputs: tuple[Comparison, ...]
    kernels: tuple[Comparison, ...]
    rounded: tuple[Comparison, ...] = ()

    @property
    def failed(self) -> tuple[Comparison, ...]:
        """What lies past the tolerance."""
        return tuple(c for c in (*self.outputs, *self.kernels) if not c.passed)

    def table(self) -> Group:
        """A line an output and a line a kernel."""
        rows = [
            (c.what, c.name, c.shape, c.where, f"{c.largest:.1e}", f"{c.median:.1e}", "ok" if c.passed else "FAILED")
            for c in (*self.outputs, *self.kernels)
        ]
        rows += [
            (c.what, c.name, c.shape, "", f"{c.largest:.1e}", f"{c.median:.1e}", "")
            for c in self.rounded
        ]
        columns = ("", "name", "shape", "~rows", ">largest", ">median", "")
        return table(f"{self.network} for {self.target} against torch in float64, {self.inputs}", columns, rows)

    def verdict(self) -> str:
        """One line: passed, or how much did not."""
        many = len(self.outputs) + len(self.kernels)
        if self.failed:
            names = ", ".join(c.name for c in self.failed[:4]) + (", ..." if len(self.failed) > 4 else "")
            return f"{len(self.failed)} of {many} comparisons lie past the tolerance: {names}"
        worst = max((*self.outputs, *self.kernels), key=lambda c: c.largest / c.tolerance[0])
        error = f"{worst.largest:.1e} (tolerance {worst.tolerance[0]:.0e})"
        verified = f"verified: {many} comparisons, largest error {error}"
        if not self.rounded:
            return verified
        change = max(c.largest for c in self.rounded)
        return f"{verified}; from those of the weights as given outputs are up to {change:.1e} away"


def compare(what: str, name: str, got: np.ndarray, twin: np.ndarray, where: str = "") -> Comparison:
    """Errors of `got` against `twin` (float64, any shapes of equal size), relative to the twin's largest value."""
    import numpy as np

    twin = np.asarray(twin, np.float64)
    difference = np.abs(np.asarray(got, np.float64).reshape(twin.shape) - twin)
    scale = float(np.max(np.abs(twin), initial=0.0))
    errors = difference if scale == 0 else difference / scale
    shape = "x".join(map(str, twin.shape))
    return Comparison(what, name, shape, float(np.max(errors, initial=0.0)), float(np.median(errors)), where)
