"""NaN and infinity in inputs, and where they come out."""

from __future__ import annotations

import numpy as np

SPECIALS = (np.nan, np.inf, -np.inf)
CLOSE = 1e-5
"""Of the largest finite element."""


def with_specials(array: np.ndarray, seed: int = 0, share: float = 0.04) -> np.ndarray:
    """The array with NaN and both infinities in a share of its places, each at least once where there is room."""
    rng = np.random.default_rng(seed)
    count = min(max(len(SPECIALS), round(share * array.size)), array.size)
    changed = array.copy()
    changed.flat[rng.choice(array.size, count, replace=False)] = np.resize(SPECIALS, count)
    return changed


def expect_specials(got: np.ndarray, twin: np.ndarray, what: str = "", close: float = CLOSE) -> None:
    """NaN and each infinity exactly where the twin has them; everything else is as close to it as that."""
    for name, test in {"NaN": np.isnan, "inf": np.isposinf, "-inf": np.isneginf}.items():
        wrong = np.argwhere(test(got) != test(twin))
        assert not len(wrong), (
            f"{what}: {name} at {wrong[:3].tolist()}: {got[tuple(wrong[0])]}, {twin[tuple(wrong[0])]}"
        )
    finite = np.isfinite(twin)
    if finite.any():
        largest = max(np.abs(twin[finite]).max(), 1e-30)
        assert np.abs(got[finite] - twin[finite]).max() <= close * largest, what
