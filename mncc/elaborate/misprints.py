"""Rows that published tables are known to misprint, so that a diagnostic can say so. Data about papers, no rule."""

from __future__ import annotations

import re

# MobileNets (Howard et al. 2017), table 1: the row halves 7x7, and the next row takes 7x7. Stride 1 is meant.
_ROWS = ("conv dw / s2 3 x 3 x 1024 dw 7 x 7 x 1024",)


def is_known_misprint(row: str) -> bool:
    """Whether a row, in any of the ways to write it, is one that a paper is known to misprint."""
    return _plain(row) in {_plain(known) for known in _ROWS}


def _plain(row: str) -> str:
    row = row.lower().replace("×", "x").replace("*", "x").replace("\\times", "x").replace("\\text", "")
    return re.sub(r"[^a-z0-9/]", "", row)
