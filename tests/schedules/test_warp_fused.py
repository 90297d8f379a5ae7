"""The schedules of fused blocks on tensor cores, as far as no GPU and no emulation is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mncc.backend.cuda import compile_cuda
from mncc.kernels.gpu_fused import FusedTiles
from mncc.kernels.gpu_tiles import WarpTiles
from mncc.kernels.gpu_warp_fused import WarpFused
from mncc.kernels.precision import Precision
from mncc.kernels.target import load_machine
from mncc.plan import make_plan
from mncc.verbs.job import load_network

ROOT = Path(__file__).resolve().parents[2]


def test_a_loop_over_weights_that_stay_in_registers() -> None:
    """64 deep, an expansion is a loop of its own; of 32 channels a warp holds all weights nevertheless."""
    network = load_network(ROOT / "examples" / "mobilenet_v2.mn", {})
    plan = make_plan(network, load_machine("cuda-sm80"), Precision("float16", "float16"))
    kernel = next(k for k in plan.kernels if isinstance(k.spec, WarpFused) and k.spec.channels == 64)
    assert isinstance(kernel.tiles, FusedTiles)
    tiles = replace(kernel.tiles, chunk=64, lead=WarpTiles(16, 32, 2, 4))
    code = compile_cuda(replace(plan, kernels=(replace(kernel, tiles=tiles),)))
    assert "fragment_load_transposed" in code.source
