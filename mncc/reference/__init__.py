"""The torch twin of a network."""

from mncc.reference.twin import Twin

__all__ = ["Twin"]
