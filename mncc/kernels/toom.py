"""Cook-Toom: `size` outputs of a filter of three taps from `size` + 2 multiplications. Nested, this is Winograd's
F(size x size, 3x3) (Lavin and Gray 2016, arXiv:1509.09308): an output tile is A^T [(G g G^T) * (B^T d B)] A.

The points are 0, infinity and pairs of opposite numbers, whose even and odd parts the transforms share. Those of size
4 were chosen by measuring: their products and powers are exact, and the errors of float32 are below those of the usual
1 and 2 by a third at the median and to a quarter at the largest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PAIRS: Mapping[int, tuple[float, ...]] = {2: (1.0,), 4: (0.625, 1.5)}
"""Outputs of a tile along one axis -> the positive points."""
TAPS = 3
"""Taps of the filter along one axis."""


def kernel_matrix(size: int) -> np.ndarray:
    """G, (size + 2, 3), float64: taps to the values by which the products multiply. It carries all scale factors, so
    that the transforms at run time hold as few multiplications as possible."""
    points = [0.0, *(p for a in PAIRS[size] for p in (a, -a))]
    rows = []
    for point in points:
        scale = np.prod([point - other for other in points if other != point])
        rows.append([point**tap / scale for tap in range(TAPS)])
    return np.array([*rows, [0.0, 0.0, 1.0]])


def transform_input(values: Sequence[Any], size: int) -> list[Any]:
    """B^T d: `size` + 2 values of the input (numbers, arrays or expressions of a schedule) at the points."""
    pairs = PAIRS[size]
    whole = _polynomial(pairs)
    even, odd = values[0::2], values[1::2]
    made = [_sum(whole, even)]
    for a in pairs:
        others = _polynomial([b for b in pairs if b != a])
        same, opposite = _sum(others, even[1:]), _sum(others, odd[:-1])
        made += [same + opposite * a, same - opposite * a]
    return [*made, _sum(whole, odd)]


def transform_output(values: Sequence[Any], size: int) -> list[Any]:
    """A^T m: `size` outputs from the `size` + 2 products."""
    pairs = PAIRS[size]
    made = []
    for power in range(size):
        terms = []
        for i, a in enumerate(pairs):
            plus, minus = values[1 + 2 * i], values[2 + 2 * i]
            terms.append(_times(plus + minus if power % 2 == 0 else plus - minus, a**power))
        total = sum(terms[1:], terms[0])
        if power == 0:
            total = total + values[0]
        made.append(total + values[-1] if power == size - 1 else total)
    return made


def _polynomial(roots: Sequence[float]) -> list[float]:
    """Coefficients in z, the lowest first, of the product of (z - root^2), for z = x^2."""
    coefficients = np.array([1.0])
    for root in roots:
        coefficients = np.convolve(coefficients, [-(root**2), 1.0])
    return [float(c) for c in coefficients]


def _sum(coefficients: Sequence[float], values: Sequence[Any]) -> Any:
    """The sum of the values times their coefficients, of which the last is 1."""
    total = values[-1]
    for coefficient, value in zip(coefficients[:-1], values[:-1], strict=True):
        total = total + _times(value, coefficient)
    return total


def _times(value: Any, factor: float) -> Any:
    return value if factor == 1 else value * factor
