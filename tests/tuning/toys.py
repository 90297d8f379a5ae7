"""A task whose kernels are written in C, so that no TVM is loaded. What a kernel does is told by its tiles' strip."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from mncc.backend import KernelFunction
from mncc.devices.requests import Operand
from mncc.kernels.chain import Chain, ChainTiles, Stage
from mncc.kernels.target import Target
from mncc.kernels.tiles import ConvTile
from mncc.library.toolchain import find_toolchain
from mncc.tuning.task import Candidate, Task

HEIGHT, WIDTH, IN, OUT = 8, 8, 4, 8

GOOD, SLOW, CRASH, HANG, WRONG, OUTSIDE, REFUSED, COMPILER_CRASHES, COMPILER_HANGS, OTHER_CPU = range(1, 11)
"""Strips and what kernels with them do; those from REFUSED to COMPILER_HANGS never are kernels."""

DOES = {
    GOOD: "",
    SLOW: "work = 400;",
    CRASH: "*(volatile int *)8 = 1;",
    HANG: "for (volatile int on = 1; on;) {}",
    WRONG: "factor = 2.001f;",
    OUTSIDE: "out[-1] = 1;",
    OTHER_CPU: '__asm__ volatile(".inst 0x4e829420");',  # sdot, which is newer than armv8.0
}
KERNEL = """
#include <stdint.h>
int32_t %(symbol)s(int32_t begin, int32_t end, const void *weights, void *scratch, float *in, float *out) {
  float factor = 2.0f;
  int work = 100;
  %(does)s
  for (volatile int i = 0; i < work; i++)
    for (int p = 0; p < %(pixels)d; p++)
      for (int c = 0; c < %(out)d; c++) out[p * %(out)d + c] = factor * in[p * %(in)d + c / 2];
  return 0;
}
"""


def compile_toy(function: KernelFunction, symbol: str, target: Target) -> bytes:
    """In the place of TVM."""
    does = function.tiles.strip
    if does == REFUSED:
        raise ValueError("no such kernel")
    if does == COMPILER_CRASHES:
        os.abort()
    if does == COMPILER_HANGS:
        time.sleep(1e6)
    words = {"symbol": symbol, "does": DOES[does], "pixels": HEIGHT * WIDTH, "in": IN, "out": OUT}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "kernel.c").write_text(KERNEL % words)
        toolchain = find_toolchain(target.triple)
        toolchain.compile("making a toy", ["-O1", "-c", "kernel.c", "-o", "kernel.o"], Path(folder))
        return Path(folder, "kernel.o").read_bytes()


def compile_and_tell(function: KernelFunction, symbol: str, target: Target) -> bytes:
    """The same; while it works a file lies in the folder that TOYS_COMPILING names."""
    mark = Path(os.environ["TOYS_COMPILING"], symbol)
    mark.touch()
    try:
        return compile_toy(function, symbol, target)
    finally:
        mark.unlink()


def toy_task(target: Target, seed: int = 0) -> Task:
    """Every channel is twice one of the input's."""
    random = np.random.default_rng(seed)
    spec = Chain(HEIGHT, WIDTH, IN, (Stage("conv", HEIGHT, WIDTH, OUT),))
    image = random.standard_normal((HEIGHT, WIDTH, IN), dtype=np.float32)
    return Task(
        name=f"toy{seed}",
        spec=spec,
        target=target,
        default=ChainTiles(GOOD, 1, "rows", (ConvTile(1, 1, OUT, 4),)),
        inputs=(Operand(image),),
        output=Operand(4 * HEIGHT * WIDTH * OUT),
        arrays=({"kernel": np.ones((1, 1, IN, OUT), np.float32), "bias": np.zeros(OUT, np.float32)},),
        expected=2.0 * np.repeat(image.astype(np.float64), 2, axis=2).reshape(-1),
        tolerance=(1e-4, 2e-6),
        aligned=(True, True),
    )


def candidates(task: Task, *strips: int) -> list[Candidate]:
    """A candidate for each thing to do; those that do the same differ in their bands."""
    return [Candidate(task, replace(task.default, strip=strip, band=1 + n)) for n, strip in enumerate(strips)]
