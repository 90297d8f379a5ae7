"""Single kernels side by side: many of them in one library, run in turn as those of a network are.

Each run of the library runs every kernel once. A kernel therefore finds the caches as it would in a network: its
weights, which are its own, have been pushed out of the L2 cache by the others' unless they are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mncc.backend import KernelFunction, compile_functions
from mncc.devices.loaded import Library, Probe, aligned_empty
from mncc.kernels.chain import Chain
from mncc.kernels.family import family_of
from mncc.kernels.target import Target
from mncc.kernels.tiles import LINE, scratch_floats
from mncc.library.spec import InterfaceTensor, KernelEntry, LibrarySpec, Slot
from mncc.library.write import write_library

NAME = "heat"
MOST_WEIGHTS = 16 << 20
"""Bytes of weights of a heat: as those of the larger mobile networks, which stay in an L3 cache."""
MOST_KERNELS = 24
SECONDS = 0.6
LEAST_RUNS, MOST_RUNS = 20, 200


@dataclass(frozen=True)
class Entrant:
    """One kernel as it could be: a chain (or Winograd convolution) with its tiles."""

    spec: Chain
    tiles: Any

    @property
    def weight_bytes(self) -> int:
        """Size of its packed weights."""
        return family_of(self.spec).weight_floats(self.spec, self.tiles) * 4


def cut_into_heats(entrants: Sequence[Entrant], always: Sequence[Entrant] = ()) -> list[tuple[Entrant, ...]]:
    """Heats of entrants, those of `always` first in each, that keep to the limits."""
    heats: list[list[Entrant]] = []
    for entrant in entrants:
        if not heats or len(heats[-1]) >= MOST_KERNELS or _bytes(heats[-1]) + entrant.weight_bytes > MOST_WEIGHTS:
            heats.append(list(always))
        heats[-1].append(entrant)
    return [tuple(heat) for heat in heats]


def _bytes(entrants: Sequence[Entrant]) -> int:
    return sum(entrant.weight_bytes for entrant in entrants)


def build_heat(entrants: Sequence[Entrant], target: Target, folder: Path) -> Path:
    """Compiles a heat into a library at `folder`; raises OutsideError. May run in another process."""
    specs = list(dict.fromkeys(entrant.spec for entrant in entrants))
    written = max(_lines(4 * int(np.prod(output_shape(spec)))) for spec in specs)
    kernels, packed, offset, symbols = [], [], 0, {}
    for number, entrant in enumerate(entrants):
        spec, tiles = entrant.spec, entrant.tiles
        arrays = random_arrays(spec)
        packed.append(family_of(spec).pack(spec, tiles, arrays))
        index = 2 * specs.index(spec)
        tensors = [Slot("input", index, 0, 0), *([Slot("input", index + 1, 0, 0)] if spec.residual else [])]
        if shared_bytes(entrant):
            tensors.append(Slot("workspace", 0, written, 0, shared=True))
        tensors.append(Slot("workspace", 0, 0, 0))
        function = KernelFunction(spec, tiles, (True,) * len(tensors))
        symbol = symbols.setdefault(function, f"kernel{number}")
        kernels.append(
            KernelEntry(f"k{number}", symbol, family_of(spec).phases(spec, tiles), 1, offset, tuple(tensors))
        )
        offset += packed[-1].nbytes
    interface = [InterfaceTensor(f"in{i}", a.shape) for i, a in enumerate(t for s in specs for t in inputs_of(s))]
    scratch = max(scratch_floats(family_of(e.spec).scratch(e.spec, e.tiles)) for e in entrants) * 4
    spec = LibrarySpec(
        name=NAME,
        model_hash="sha256:" + "0" * 64,
        inputs=tuple(interface),
        outputs=(InterfaceTensor("unused", (1,)),),
        kernels=tuple(kernels),
        kernel_object=compile_functions(symbols, target),
        weights=np.concatenate(packed),
        tensor_bytes=written + max(_lines(shared_bytes(entrant)) for entrant in entrants),
        scratch_bytes=scratch,
        triple=target.triple,
        cpu_features=target.requires,
    )
    write_library(spec, folder, probe=True)
    return folder


def _lines(nbytes: int) -> int:
    return -(-nbytes // LINE) * LINE


def shared_bytes(entrant: Entrant) -> int:
    """What lies between a kernel's two phases, where it has two."""
    between = family_of(entrant.spec).shared(entrant.spec, entrant.tiles)
    return 4 * between.floats if between else 0


def random_arrays(spec: Chain, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Weights of every stage, as families pack them, that keep values about as large as they are."""
    random, made = np.random.default_rng(seed), []
    for index, stage in enumerate(spec.stages):
        inside = (stage.channels, 1)
        if stage.kind != "depthwise":
            inside = (spec.in_channels(index) // stage.groups, stage.channels)
        scale = (2 / stage.depth(spec.in_channels(index))) ** 0.5
        kernel = scale * random.standard_normal((*stage.kernel, *inside), dtype=np.float32)
        made.append({"kernel": kernel, "bias": random.standard_normal(stage.channels, dtype=np.float32)})
    return made


def inputs_of(spec: Chain, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The input and the residual (where there is none, one element) as they lie in memory, zeros around them."""
    random = np.random.default_rng(seed)
    last, made = spec.last, []
    shapes = [(spec.height, spec.width, spec.channels), (last.height, last.width, last.channels)]
    pads, spares = (spec.input_pads, spec.residual_pads), (spec.input_spare, spec.residual_spare)
    for shape, around, spare in zip(shapes, pads, spares, strict=True):
        value = np.pad(random.standard_normal(shape, dtype=np.float32), (*around, (0, spare)))
        made.append(_on_line(value))
    return made[0], made[1] if spec.residual else _on_line(np.zeros(1, np.float32))


def output_shape(spec: Chain) -> tuple[int, int, int]:
    """The output in memory, with its borders and what lies between its pixels."""
    height, width = (1, 1) if spec.pool else (spec.last.height, spec.last.width)
    (top, bottom), (left, right) = spec.output_pads
    return height + top + bottom, width + left + right, spec.last.channels + spec.output_spare


def _on_line(value: np.ndarray) -> np.ndarray:
    placed = aligned_empty(value.nbytes).view(np.float32).reshape(value.shape)
    placed[...] = value
    return placed


def outputs(entrants: Sequence[Entrant], folder: Path) -> list[np.ndarray]:
    """What every kernel of a built heat computes."""
    probe, made = Probe(folder), []
    for number, entrant in enumerate(entrants):
        tensors = list(inputs_of(entrant.spec)[: 2 if entrant.spec.residual else 1])
        if shared_bytes(entrant):
            tensors.append(_on_line(np.zeros(shared_bytes(entrant) // 4, np.float32)))
        result = _on_line(np.zeros(output_shape(entrant.spec), np.float32))
        probe.run(number, [*tensors, result])
        made.append(result)
    return made


def times(entrants: Sequence[Entrant], folder: Path, seconds: float = SECONDS) -> list[tuple[int, ...]]:
    """Nanoseconds of every kernel of a built heat in every run, on this thread."""
    specs = list(dict.fromkeys(entrant.spec for entrant in entrants))
    arrays = [tensor for spec in specs for tensor in inputs_of(spec)]
    with Library(folder) as library:
        once = sum(time.nanoseconds[0] for time in library.profile(*arrays, repeats=1))
        runs = min(max(round(seconds / (once * 1e-9)), LEAST_RUNS), MOST_RUNS)
        return [time.nanoseconds for time in library.profile(*arrays, repeats=runs)]
