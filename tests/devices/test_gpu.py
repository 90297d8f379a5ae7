"""A library for GPUs as a numpy function, in a process that has the stand-in driver."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mncc.devices.loaded import Library
from mncc.language.diagnostic import OutsideError
from mncc.library.cuda_write import write_cuda_library
from tests.library.cuda.toy import CUDA_13, FATBIN, toy_cuda_spec, toy_standin

PROGRAM = """
import ctypes, sys
import numpy as np
from mncc.devices.loaded import Library, RunError
from mncc.library.selftest import selftest_input
from tests.library.toy import CHANNELS, CLASSES, HEIGHT, PIXELS, WIDTH, toy_outputs, toy_weights

standin = ctypes.CDLL("libcuda.so.1")
image = selftest_input(0, 2 * PIXELS).reshape(2, HEIGHT, WIDTH, CHANNELS)
bias = selftest_input(1, 2 * CLASSES).reshape(2, CLASSES)
expected = toy_outputs(toy_weights(), image, bias)
with Library(sys.argv[1], device=1) as library:
    assert library.workspace_bytes(5) == 0
    for _ in range(2):
        for got, wanted in zip(library(image, bias), expected):
            assert np.abs(got - wanted).max() < 1e-5 * np.abs(wanted).max()
    library.selftest()
    assert [time.name for time in library.profile(image, bias, repeats=2)] == ["scale", "dense", "mix"]
    library.close()
    library(image, bias)
print("ok")
"""


def test_runs_as_any_library(tmp_path: Path) -> None:
    files = write_cuda_library(toy_cuda_spec(), tmp_path / "toy", nvcc=CUDA_13, fatbin=FATBIN)
    (tmp_path / "driver").mkdir()
    toy_standin(tmp_path / "driver")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path / "driver")}
    command = [sys.executable, "-c", PROGRAM, str(files.shared)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "ok\n", done.stderr


def test_says_that_there_is_no_driver(tmp_path: Path) -> None:
    if ctypes.util.find_library("cuda"):
        pytest.skip("this machine has NVIDIA's driver")
    files = write_cuda_library(toy_cuda_spec(), tmp_path / "toy", nvcc=CUDA_13, fatbin=FATBIN)
    with Library(files.shared) as library, pytest.raises(OutsideError, match="no NVIDIA driver on this machine"):
        library.selftest()
