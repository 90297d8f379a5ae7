"""A network's library for GPUs, as `mncc build` leaves it, run with the stand-in driver in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mncc.devices.cuda_standin import build_standin
from mncc.kernels.precision import FULL, Precision
from mncc.library.cuda_write import write_cuda_library
from mncc.library.nvcc import Nvcc
from mncc.library.selftest import TOLERANCES
from mncc.library.write import LibraryFiles
from mncc.network.graph import Network
from mncc.reference import Twin
from mncc.verbs.compile_gpu import compile_gpu_network
from mncc.verbs.job import find_gpus
from mncc.weights import Weights
from tests.library.cuda.toy import CUDA_13, FATBIN
from tests.networks.compare import errors, expect_close, inputs_of

PROGRAM = """
import sys
import numpy as np
from mncc.devices.loaded import Library
folder, library = sys.argv[1:]
inputs = np.load(folder + "/inputs.npz")
with Library(library) as network:
    network.selftest()
    first = network.run(*(inputs[name] for name in inputs.files))
    again = network.run(*(inputs[name] for name in inputs.files))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
np.savez(folder + "/outputs.npz", *first)
"""


def run_on_standin(files: LibraryFiles, folder: Path, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a library whose stand-in driver lies in `folder`; its self test and two equal runs before."""
    np.savez(folder / "inputs.npz", *inputs)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    command = [sys.executable, "-c", PROGRAM, str(folder), str(files.shared)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    outputs = np.load(folder / "outputs.npz")
    return [outputs[name] for name in outputs.files]


def expect_right_on_standin(
    network: Network,
    weights: Weights,
    folder: Path,
    targets: str,
    nvcc: Nvcc | None,
    precision: Precision = FULL,
) -> LibraryFiles:
    """Every output of the library agrees with the twin. Without `nvcc` the library's machine code is empty, which the
    stand-in does not mind."""
    spec = compile_gpu_network(network, find_gpus(targets), weights, network.name, precision=precision)
    fatbin = None if nvcc else FATBIN
    files = write_cuda_library(spec, folder / "library", nvcc=nvcc or CUDA_13, fatbin=fatbin)
    (folder / "driver").mkdir()
    build_standin(spec.source, folder / "driver")
    inputs = inputs_of(network)
    twin = Twin(network, weights).run(inputs, keep={o.value for o in network.outputs})
    for output, got in zip(network.outputs, run_on_standin(files, folder / "driver", inputs), strict=True):
        if precision == FULL:
            expect_close(got, twin[output.value], output.name)
        else:
            assert errors(got, twin[output.value])[0] < TOLERANCES["float16"], output.name
    return files
