"""python -m bench.cuda, as far as it goes without a GPU."""

from __future__ import annotations

import ctypes.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cuda import __main__ as bench_cuda
from bench.cuda.__main__ import ENGINES, main, target_for
from bench.cuda.driver import Gpu
from bench.cuda.worker import OPEN
from mncc.language.diagnostic import OutsideError
from tests.library.cuda.toy import toy_standin

DRIVEN = """
import numpy as np
from bench.cuda.driver import DriverError, Stream, find_gpu
assert find_gpu(1).name == "stand-in 1" and find_gpu(1).capability == 80 and find_gpu(1).driver == "13.0"
try:
    find_gpu(2)
except DriverError as error:
    assert "there is no GPU 2: the driver has 2" in str(error)
else:
    raise AssertionError
stream, array = Stream(), np.arange(7, dtype=np.float32)
assert np.array_equal(stream.download(stream.upload(array), array.shape), array)
stream.captured(lambda: None)()
stream.wait()
print("ok")
"""


def test_every_engine_can_be_opened() -> None:
    assert {engine.name for engine in ENGINES} == set(OPEN)


def test_targets_of_gpus() -> None:
    found = {capability: target_for(Gpu("", capability, "")) for capability in (75, 80, 86, 87, 89, 90, 100, 120)}
    assert found == {
        **{capability: f"cuda-sm{capability}" for capability in (75, 80, 86, 87, 89, 90)},
        **dict.fromkeys((100, 120), "cuda-sm90"),
    }
    with pytest.raises(OutsideError, match="old GPU is sm_70; the oldest target is cuda-sm75"):
        target_for(Gpu("old GPU", 70, ""))


def test_without_a_driver() -> None:
    if ctypes.util.find_library("cuda"):
        pytest.skip("this machine has NVIDIA's driver")
    with pytest.raises(OutsideError, match="no NVIDIA driver: libcuda"):
        main([])


def test_driver(tmp_path: Path) -> None:
    toy_standin(tmp_path)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", DRIVEN], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "ok\n", done.stderr


@pytest.mark.full
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_rehearsal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds, opens, checks and times all engines, some of them stand-ins."""
    monkeypatch.setattr(bench_cuda, "WORKER", Path(__file__).with_name("cuda_worker.py"))
    arguments = ["mobilenet_v2_0.35_96", "--rehearse", "--seconds", "0.05", "--results", str(tmp_path)]
    assert main(arguments) == 0
    result = json.loads((tmp_path / "cuda_mobilenet_v2_0.35_96.json").read_text())
    timings = {timing["engine"]: timing for timing in result["results"]}
    assert set(timings) == set(OPEN) and not result["missing"] and result["target"] == "cuda-sm80"
    assert all(timing["runs"] >= 3 and timing["difference"] < 1e-4 for timing in timings.values())
    assert "rehearsal" in capsys.readouterr().out


@pytest.mark.full
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_rehearsal_names_what_is_missing(tmp_path: Path) -> None:
    arguments = ["mobilenet_v2_0.35_96", "--rehearse", "--seconds", "0.05", "--results", str(tmp_path)]
    assert main([*arguments, "--engines", "mncc,tensorrt,torch-graph"]) == 0
    result = json.loads((tmp_path / "cuda_mobilenet_v2_0.35_96.json").read_text())
    assert "not installed: pip install tensorrt" in dict(result["missing"])["tensorrt"]
    assert "torch-graph" in dict(result["missing"]) and result["results"][0]["engine"] == "mncc"


@pytest.mark.full
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_rehearsal_in_float16(tmp_path: Path) -> None:
    arguments = ["mobilenet_v2_0.35_96", "--rehearse", "--seconds", "0.05", "--results", str(tmp_path)]
    assert main([*arguments, "--engines", "mncc,torch,tensorrt", "--dtype", "float16"]) == 0
    result = json.loads((tmp_path / "cuda_mobilenet_v2_0.35_96_float16.json").read_text())
    timings = {timing["engine"]: timing for timing in result["results"]}
    assert set(timings) == {"mncc", "torch"} and result["dtype"] == "float16"
    assert all(1e-5 < timing["difference"] < 5e-2 for timing in timings.values())
