"""Syntax tree and settings to a Network."""

from mncc.elaborate.load import elaborate, load
from mncc.elaborate.show import show_network

__all__ = ["elaborate", "load", "show_network"]
