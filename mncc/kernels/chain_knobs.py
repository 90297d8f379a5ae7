"""A chain's tiles as decisions: a register tile for each stage, and how rows are cut into steps and bands.

What tasks share out, rows or channels, is no knob: it decides how well several threads share a kernel, and kernels are
measured on one core.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from mncc.kernels.chain import Chain, ChainTiles, fuses_band, in_phases, phases
from mncc.kernels.chain_cost import FEWEST_ITEMS, choose_tiles
from mncc.kernels.chain_predict import largest_pass
from mncc.kernels.chain_space import fits_phases, parts, stage_tiles, two_row_tiles
from mncc.kernels.knobs import Knob
from mncc.kernels.target import Target
from mncc.kernels.tiles import ConvTile


@dataclass(frozen=True)
class Cut:
    """The fields of ChainTiles that are no register tile."""

    strip: int
    band: int
    split: Literal["rows", "channels"]


def knobs(chain: Chain, target: Target) -> tuple[Knob, ...]:
    """One a stage, in their order, then the cut."""
    default = choose_tiles(chain, target)
    stages = (Knob(f"stage{index}", _tiles(chain, index, target, default)) for index in range(len(chain.stages)))
    return (*stages, Knob("cut", _cuts(chain, default)))


def _tiles(chain: Chain, index: int, target: Target, default: ChainTiles) -> tuple[ConvTile, ...]:
    """The register tiles of one stage. A depthwise stage in two phases may need narrower vectors than its channels
    would, so that they fill the tiles of the product before it."""
    found = [*stage_tiles(chain, index, target), *two_row_tiles(chain, index, target)]
    lanes = default.stages[index].lanes
    if chain.stages[index].kind == "depthwise" and lanes not in {tile.lanes for tile in found}:
        found += [replace(tile, channels=lanes, lanes=lanes) for tile in found]
    return tuple(dict.fromkeys(found))


def _cuts(chain: Chain, default: ChainTiles) -> tuple[Cut, ...]:
    """Strips of equal height and bands of these; all rows at once where tasks share out channels."""
    if default.split == "channels":
        return (Cut(default.strip, default.band, default.split),)
    fused = len(chain.stages) > 1 and fuses_band(chain, len(chain.stages) - 2)
    return tuple(
        Cut(strip, band, "rows")
        for strip in parts(chain.last.height)
        for band in (parts(strip) if fused else (strip,))
    )


def joined(chain: Chain, target: Target, values: tuple[Any, ...]) -> ChainTiles | None:
    """None where a register tile has more rows than its stage makes at a time, or where two phases could not share out
    its channels."""
    *stages, cut = values
    tiles = ChainTiles(cut.strip, cut.band, cut.split, tuple(stages))
    if cut.split == "rows":
        fits = all(tile.rows <= largest_pass(chain, tiles, index) for index, tile in enumerate(tiles.stages))
        return tiles if fits else None
    if in_phases(chain, tiles):
        fits = fits_phases(chain, tiles.stages) and phases(chain, tiles)[0].items >= FEWEST_ITEMS
        return tiles if fits else None
    return tiles


def values(tiles: ChainTiles) -> tuple[Any, ...]:
    """The register tiles, then the cut."""
    return (*tiles.stages, Cut(tiles.strip, tiles.band, tiles.split))
