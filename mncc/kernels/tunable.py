"""The tiles of the CPU families that have some to choose."""

from __future__ import annotations

from mncc.kernels.chain import ChainTiles
from mncc.kernels.strassen import StrassenTiles
from mncc.kernels.winograd import WinogradTiles

Tunable = ChainTiles | WinogradTiles | StrassenTiles
