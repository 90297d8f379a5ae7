"""`mncc run` and `mncc verify` for GPUs, with the stand-in driver."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mncc.devices.cuda_standin import build_standin
from mncc.language.diagnostic import OutsideError
from mncc.library.nvcc import find_nvcc
from mncc.report.progress import Progress
from mncc.verbs.cache import compiled_gpu
from mncc.verbs.job import GpuJob, prepare_build
from mncc.verbs.verify import verify

TINY = ("docs/tiny.mn", "--target", "cuda-sm80", "--weights", "random:3")


def job() -> GpuJob:
    found = prepare_build("docs/tiny.mn", {}, "cuda-sm80", "random:3")
    assert isinstance(found, GpuJob)
    return found


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_run_and_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every output and every kernel of the library within the tolerances; a picture gets labels."""
    monkeypatch.setenv("MNCC_CACHE", str(tmp_path / "cache"))
    with Progress() as progress:
        spec, _ = compiled_gpu(job(), find_nvcc(), progress)
    build_standin(spec.source, tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / "red.png")

    def mncc(*arguments: str) -> str:
        command = [sys.executable, "-m", "mncc", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = mncc("verify", *TINY, "--image", str(tmp_path / "red.png"))
    assert "tiny for cuda-sm80" in said and "a random input and 1 picture" in said
    kernels = {launch.name for launch in spec.launches}
    assert all(name in said for name in kernels) and f"verified: {1 + len(kernels)} comparisons" in said
    assert "class " in mncc("run", *TINY, "--image", str(tmp_path / "red.png"), "--top", "3")


def test_without_a_driver() -> None:
    if ctypes.util.find_library("cuda") or "cuda" in os.environ.get("LD_LIBRARY_PATH", ""):
        pytest.skip("this machine has NVIDIA's driver")
    with Progress() as progress, pytest.raises(OutsideError, match="no NVIDIA driver on this machine") as caught:
        verify(job(), [], progress)
    assert "name a CPU with --target" in str(caught.value.help)
