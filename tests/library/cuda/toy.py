"""The toy network of tests/library/toy.py for a GPU, and the stand-in driver that runs it."""

from __future__ import annotations

from pathlib import Path

from mncc.devices.cuda_standin import build_standin
from mncc.library.cuda_spec import CudaArgument, CudaLaunch, CudaSpec
from mncc.library.nvcc import Nvcc
from mncc.library.selftest import make_goldens, selftest_input
from tests.library.toy import CHANNELS, CLASSES, HEIGHT, PIXELS, WIDTH, toy_outputs, toy_spec

HERE = Path(__file__).parent
SOURCE = (HERE / "toy.cu").read_text(encoding="utf-8")


def toy_cuda_spec(name: str = "toy", batch: int = 2, shared_bytes: int = 128, seed: int = 0) -> CudaSpec:
    """Two inputs, two outputs, three launches, a batch. The dense product's blocks are of 32 threads."""
    cpu = toy_spec(name, batch, seed)
    image = selftest_input(0, batch * PIXELS).reshape(batch, HEIGHT, WIDTH, CHANNELS)
    bias = selftest_input(1, batch * CLASSES).reshape(batch, CLASSES)
    hidden, dense = CudaArgument("output", 0, 0), CudaArgument("workspace", 0, 256)
    scale, matrix = CudaArgument("weights", 0, 0), CudaArgument("weights", 0, 64)
    launches = (
        CudaLaunch(
            "scale", "toy_scale", (batch, 1, 1), (64, 1, 1), 0, (hidden, scale, CudaArgument("input", 0, 0))
        ),
        CudaLaunch("dense", "toy_dense", (CLASSES, batch, 1), (32, 1, 1), shared_bytes, (hidden, dense, matrix)),
        CudaLaunch(
            "mix",
            "toy_mix",
            (batch, 1, 1),
            (32, 1, 1),
            0,
            (CudaArgument("input", 1, 0), CudaArgument("output", 1, 0), dense),
        ),
    )
    return CudaSpec(
        name=name,
        model_hash=cpu.model_hash,
        inputs=cpu.inputs,
        outputs=cpu.outputs,
        source=SOURCE,
        architectures=("sm_80", "sm_90"),
        launches=launches,
        weights=cpu.weights,
        workspace_bytes=256 + 64 * batch,
        goldens=make_goldens(toy_outputs(cpu.weights, image, bias)),
        manifest={"versions": {"mncc": "0.0"}},
    )


def toy_standin(folder: Path, compiler: str = "g++") -> Path:
    """libcuda.so.1 with the toy's kernels, in a folder."""
    return build_standin(SOURCE, folder, compiler)


def fake_fatbin(*entries: tuple[int, int]) -> bytes:
    """A fatbin as the stand-in reads it, all headers: (1, 80) is PTX of compute_80, (2, 80) code of sm_80."""
    body = b"".join(
        kind.to_bytes(2, "little")
        + b"\1\1"
        + (64).to_bytes(4, "little")
        + (0).to_bytes(8, "little")
        + bytes(12)
        + architecture.to_bytes(4, "little")
        + bytes(32)
        for kind, architecture in entries
    )
    return 0xBA55ED50.to_bytes(4, "little") + b"\1\0\x10\0" + len(body).to_bytes(8, "little") + body


CUDA_13 = Nvcc(("no-nvcc",), (13, 0))
FATBIN = fake_fatbin((2, 80), (2, 90), (1, 80), (1, 90))
"""What nvcc makes for sm_80 and sm_90, as far as the stand-in reads it: with it tests need no nvcc."""
