"""The verbs from Python."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import torch

import mncc
from mncc.language.diagnostic import DiagnosticError
from mncc.reference import Twin
from mncc.report.failures import UsageError
from mncc.report.instructions import InstructionReport
from mncc.verbs.job import prepare
from tests.devices.machines import emulated

TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((1, 32, 32, 3), dtype=np.float32)


def test_build_answers_as_torch_does(picture: np.ndarray) -> None:
    net = mncc.build(TINY, weights="random:3", width=2)
    job = prepare(TINY, {"width": "2"}, weights="random:3")
    twin = Twin(job.network, job.weights).run([picture])[job.network.outputs[0].value]
    scores = net(picture)
    assert isinstance(scores, np.ndarray) and scores.shape == (1, 10) and scores.dtype == np.float32
    np.testing.assert_allclose(scores, twin, atol=1e-4 * np.abs(twin).max())
    np.testing.assert_array_equal(net(picture, threads=3), scores)
    nchw = torch.from_numpy(picture).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(net(nchw), scores)


def test_two_libraries_live_side_by_side(picture: np.ndarray) -> None:
    one, two = (mncc.build(TINY, weights=seed) for seed in ("random:1", "random:2"))
    first = one(picture)
    assert not np.allclose(first, two(picture))
    np.testing.assert_array_equal(one(picture), first)


def test_a_temporary_library_goes_with_its_object(picture: np.ndarray) -> None:
    net = mncc.build(TINY)
    folder = net.path.parent
    assert (folder / "tiny.json").is_file()
    del net
    gc.collect()
    assert not folder.exists()


def test_output_names_a_folder(tmp_path: Path, picture: np.ndarray) -> None:
    net = mncc.build(TINY, name="small", output=tmp_path / "out", resolution=64)
    assert net.path == tmp_path / "out" / "libsmall.so"
    assert net.inputs[0].shape == (1, 64, 64, 3)
    net.selftest()
    del net
    gc.collect()
    assert (tmp_path / "out" / "libsmall.so").is_file()


def test_the_other_verbs() -> None:
    assert mncc.check(TINY, classes=7).startswith("tiny: image 32x32x3 -> scores 7;")
    assert mncc.cost(TINY, classes=7).params < mncc.cost(TINY).params
    assert not mncc.verify(TINY, target="x86-64-v3").failed
    assert "chain" in mncc.emit(TINY, "plan")


@pytest.mark.parametrize("target", [emulated("arm64-cortex-a76")])
def test_bench_in_the_emulator_answers_instructions(target: str) -> None:
    report = mncc.bench(TINY, target, device="qemu", profile=True)
    assert isinstance(report, InstructionReport) and report.cpu == "cortex-a76"
    assert report.whole.instructions > report.whole.bare > 0
    assert sum(kernel.counted.macs for kernel in report.profile) == report.whole.macs
    with pytest.raises(UsageError, match="on one thread"):
        mncc.bench(TINY, target, device="qemu", threads=(1, 2))


def test_what_is_wrong_is_raised(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError):
        mncc.build(tmp_path / "missing.mn")
    with pytest.raises(DiagnosticError):
        mncc.check(TINY, widht=1)
    with pytest.raises(UsageError):
        mncc.build(TINY, target="vax")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AttributeError):
        _ = mncc.nonsense


def test_errors_have_public_names(tmp_path: Path) -> None:
    with pytest.raises(mncc.DiagnosticError):
        mncc.check(tmp_path / "missing.mn")
