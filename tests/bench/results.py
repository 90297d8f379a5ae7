"""Made-up results."""

from __future__ import annotations

from typing import Any


def timing(engine: str, threads: int, ms: float, share: float | None, version: str = "1.0") -> dict[str, Any]:
    """One engine's line."""
    return {
        "engine": engine,
        "threads": threads,
        "median_ms": ms,
        "percent_of_fma_peak": share,
        "version": version,
        "difference": 3e-6,
    }
