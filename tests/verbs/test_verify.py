"""`mncc verify` finds what is wrong, and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mncc.report.progress import Progress
from mncc.verbs import loading
from mncc.verbs.cache import compiled
from mncc.verbs.job import Job, prepare
from mncc.verbs.verify import verify

TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"


def test_batches_and_several_threads_of_targets() -> None:
    report = verify(prepare(TINY, {"batch": "3"}, "x86-64-v3"), [], Progress())
    assert not report.failed
    assert len(report.kernels) >= 3 and len(report.outputs) == 1


@pytest.mark.parametrize("target", ["x86-64-v3", "native"])
def test_weights_stored_as_float16(target: str) -> None:
    """Kernels and outputs agree with the rounded weights as float32 does; what the rounding changed stands beside."""
    report = verify(prepare(TINY, {"batch": "2"}, target, weights_dtype="float16"), [], Progress())
    assert not report.failed
    (rounding,) = report.rounded
    assert 1e-5 < rounding.largest < 1e-2
    assert "from those of the weights as given outputs are up to" in report.verdict()


def test_a_library_of_other_weights_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    job = prepare(TINY, {})
    other = prepare(TINY, {}, weights="random:9")

    def mistaken(job: Job, progress: Progress) -> object:
        return compiled(other, progress)

    monkeypatch.setattr(loading, "compiled", mistaken)
    report = verify(job, [], Progress())
    assert report.outputs[0] in report.failed
    with_weights = [kernel for kernel in report.kernels if "avgpool" not in kernel.where]
    assert all(not kernel.passed for kernel in with_weights)
    assert "lie past the tolerance" in report.verdict()


def test_one_wrong_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An element that a kernel never writes stays NaN; the others pass."""
    from mncc.devices.loaded import Probe

    real = Probe.run

    def forgetful(self: Probe, kernel: int, tensors: list[np.ndarray]) -> None:
        real(self, kernel, tensors)
        if kernel == 1:
            tensors[-1].view(np.float32)[5] = np.nan

    monkeypatch.setattr(Probe, "run", forgetful)
    report = verify(prepare(TINY, {}), [], Progress())
    assert [failed.name for failed in report.failed] == [report.kernels[1].name]


def test_images_in_a_row_and_values_twice(tmp_path: Path) -> None:
    """A classifier that computes a batch at once, and kernels for copies that the network itself does not have."""
    report = verify(prepare(TINY, {"batch": "4", "classes": "32", "width": "1.34"}), [], Progress())
    assert not report.failed
    twice = tmp_path / "twice.mn"
    twice.write_text(TINY.read_text() + "output one = body.row(2)\noutput two = body.row(2)\n")
    report = verify(prepare(twice, {}), [], Progress())
    assert not report.failed
    assert {output.name for output in report.outputs} >= {"one", "two"}
