"""The executable that races candidates of a task: their objects, the harness, and all data, real weights included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mncc.devices.requests import Operand
from mncc.devices.runner import link_whole
from mncc.kernels.family import family_of
from mncc.kernels.tiles import LINE
from mncc.library.tables import array_lines
from mncc.library.template import RUNTIME
from mncc.library.toolchain import Toolchain
from mncc.tuning.task import Task, Tiles

HARNESS = Path(__file__).parent / "harness.c"
PROGRAM = "race"


@dataclass(frozen=True)
class Racer:
    """Tiles of a task, compiled: an object file that holds the kernel under `symbol`."""

    tiles: Tiles
    symbol: str
    object: bytes


def packed_bytes(task: Task, tiles: Tiles) -> int:
    """Size of the task's weights as kernels with these tiles read them."""
    return family_of(task.spec).weight_floats(task.spec, tiles) * 4


def shared_bytes(task: Task, tiles: Tiles) -> int:
    """Of what lies between a kernel's two phases; 0 where it has one."""
    between = family_of(task.spec).shared(task.spec, tiles)
    return between.bytes if between else 0


def link_program(task: Task, racers: Sequence[Racer], toolchain: Toolchain, folder: Path) -> Path:
    """The executable `race` in a new `folder`; number 0 of `racers` is the reference. Raises OutsideError."""
    folder.mkdir()
    data = _Data()
    (folder / "race.h").write_text(_table(task, racers, data), encoding="utf-8")
    (folder / "name.h").write_text("")
    data.write(folder / "weights.bin")
    objects = []
    for number, racer in enumerate(racers):
        (folder / f"racer{number}.o").write_bytes(racer.object)
        objects.append(f"racer{number}.o")
    words = ["-O2", *toolchain.static.baseline, f"-I{RUNTIME}", "-I.", str(HARNESS), str(RUNTIME / "weights.S")]
    link_whole("linking candidates", [*words, *objects, "-lm", "-o", PROGRAM], task.target, toolchain, folder)
    return folder / PROGRAM


class _Data:
    """What the program holds as one piece of read-only memory; equal parts lie there once."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.places: dict[bytes, int] = {}
        self.size = 0

    def add(self, array: np.ndarray) -> int:
        """Where an array begins, in bytes, on a line."""
        part = np.ascontiguousarray(array).tobytes()
        if part not in self.places:
            self.places[part] = self.size
            self.parts += [part, bytes(-len(part) % LINE)]
            self.size += -(-len(part) // LINE) * LINE
        return self.places[part]

    def write(self, file: Path) -> None:
        file.write_bytes(b"".join(self.parts))


def _table(task: Task, racers: Sequence[Racer], data: _Data) -> str:
    """race.h."""
    given, pointers = _inputs(task.inputs, data)
    each = np.dtype(task.spec.output_dtype).itemsize
    finite = task.expected[np.isfinite(task.expected)]
    scale = max(float(np.abs(finite).max(initial=0.0)), float(np.finfo(np.float32).tiny))
    largest, median = task.tolerance
    expected = data.add(task.expected.astype(np.float32))
    cache = task.target.l2 // (2 if task.spec.dtype == "float16" else 1)
    names = [f"racer{number}" for number in range(len(racers))]
    lines = [
        f"enum {{ RACE_KERNELS = {len(racers)}, RACE_INPUTS = {len(pointers)}, RACE_GIVEN = {len(given)} }};",
        f"enum {{ RACE_OUTPUT_EACH = {each}, RACE_OUTPUT_START = {task.output.start}, RACE_CACHE = {cache} }};",
        f"static const double RACE_SCALE = {scale.hex()}; /* the largest expected element */",
        f"static const double RACE_LARGEST = {largest.hex()}, RACE_MEDIAN = {median.hex()};",
        f"static const memory race_output = {{{expected}, {task.output.nbytes}}};",
        *array_lines("memory", "race_given", given),
        *array_lines("pointer", "race_inputs", pointers),
        *(f'int32_t {name}(void) MNCC_SYMBOL("{racer.symbol}");' for name, racer in zip(names, racers, strict=True)),
        "/* function, items, offset of the weights, bytes of scratch and of what phases share */",
        *array_lines("racer", "racers", [_row(task, *pair, data) for pair in zip(names, racers, strict=True)]),
    ]
    return "\n".join(lines) + "\n"


def _inputs(inputs: Sequence[Operand], data: _Data) -> tuple[list[str], list[str]]:
    """Rows of the memories that inputs lie in, each once, and of the pointers into them."""
    memories: list[np.ndarray] = []
    pointers = []
    for operand in inputs:
        assert isinstance(operand.memory, np.ndarray), "inputs have values"
        number = next((n for n, memory in enumerate(memories) if memory is operand.memory), len(memories))
        memories[number:] = [operand.memory] if number == len(memories) else memories[number:]
        pointers.append(f"{{{number}, {operand.start}}}")
    return [f"{{{data.add(memory)}, {memory.nbytes}}}" for memory in memories], pointers


def _row(task: Task, name: str, racer: Racer, data: _Data) -> str:
    family, tiles = family_of(task.spec), racer.tiles
    items = sum(phase.items for phase in family.phases(task.spec, tiles))
    scratch = sum(array.bytes for array in family.scratch(task.spec, tiles))
    weights = data.add(family.pack(task.spec, tiles, task.arrays))
    return f"{{(kernel_function){name}, {items}, {weights}, {scratch}, {shared_bytes(task, tiles)}}}"
