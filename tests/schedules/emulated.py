"""A kernel's function for another processor, called under qemu as one for this processor is."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mncc.kernels.target import Target

COMPILERS = {"aarch64": "aarch64-linux-gnu-gcc", "armv7a": "arm-linux-gnueabihf-gcc"}
EMULATORS = {"aarch64": "qemu-aarch64", "armv7a": "qemu-arm"}
PAGE = 4096


def need_emulator(target: Target) -> None:
    """Skips the test where this machine cannot link for the target, or run what it linked."""
    machine = target.triple.partition("-")[0]
    for program in (COMPILERS[machine], EMULATORS[machine]):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")


@dataclass(frozen=True)
class Emulated:
    """An executable around one kernel; calling it runs the kernel on arrays, in a process of its own."""

    command: tuple[str, ...]
    folder: Path

    @classmethod
    def link(cls, code: Path, folder: Path, target: Target) -> Emulated:
        """The executable of the object file `code`."""
        machine, program = target.triple.partition("-")[0], folder / "emulated"
        source = Path(__file__).with_name("emulated.c")
        subprocess.run([COMPILERS[machine], "-O1", "-static", "-o", program, source, code, "-lm"], check=True)
        return cls((EMULATORS[machine], "-cpu", target.emulated, str(program)), folder)

    def __call__(self, begin: int, end: int, arrays: Sequence[np.ndarray]) -> int:
        """What the kernel returns; the arrays are those after the call."""
        arguments, files = [], []
        for number, array in enumerate(arrays):
            file = self.folder / f"array{number}"
            span = -(-max(array.nbytes, 4) // PAGE) * PAGE
            place = span - -(-max(array.nbytes, 4) // 64) * 64
            raw = np.zeros(span, np.uint8)
            raw[place : place + array.nbytes] = array.view(np.uint8).ravel()
            file.write_bytes(raw.tobytes())
            files.append((file, place))
            arguments.append(f"{file}:{max(array.nbytes, 4)}")
        made = subprocess.run([*self.command, str(begin), str(end), *arguments], check=False)
        for array, (file, place) in zip(arrays, files, strict=True):
            found = np.frombuffer(file.read_bytes(), np.uint8)[place : place + array.nbytes]
            array[...] = found.view(array.dtype).reshape(array.shape)
        return made.returncode
