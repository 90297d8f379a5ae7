"""Numbers as people read them."""

from __future__ import annotations


def count(value: float) -> str:
    """A count in thousands: `3,504,872`."""
    return f"{value:,.0f}"


def short_count(value: float) -> str:
    """A large count in three digits or so: `300.8 M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:.0f}"


def size(bytes: float) -> str:
    """Bytes in binary units: `2.31 MiB`."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(bytes) >= scale:
            return f"{bytes / scale:.3g} {unit}"
    return f"{bytes:.0f} B"


def percent(share: float | None) -> str:
    """A share of 1 as percent; `-` where it means nothing."""
    return "-" if share is None else f"{100 * share:.1f} %"


def plural(many: int, word: str) -> str:
    """`1 kernel`, `2 kernels`."""
    return f"{many:,} {word}" if many == 1 else f"{many:,} {word}s"
