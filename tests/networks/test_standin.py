"""The unmodified library for GPUs, end to end: what nvcc compiled inside, the driver's entry points around it, and the
stand-in's kernels, which are the same source run on the CPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import mncc.backend.lower_cuda as lower_cuda
from mncc.elaborate import load
from mncc.library.nvcc import find_nvcc
from mncc.weights.random_weights import random_weights
from tests.networks.gpu import HALF
from tests.networks.standin import expect_right_on_standin

NVCC = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")


@NVCC
def test_mobilenet_v2(tmp_path: Path) -> None:
    """With the machine code that nvcc makes, and the manifest."""
    network = load("examples/mobilenet_v2.mn", {"width": "0.35", "resolution": "96"})
    files = expect_right_on_standin(network, random_weights(network, 3), tmp_path, "cuda-sm80,cuda-sm90", find_nvcc())
    manifest = json.loads(files.manifest.read_text())
    assert manifest["target"]["names"] == ["cuda-sm80", "cuda-sm90"]
    assert manifest["architectures"] == ["sm_80", "sm_90", "compute_80", "compute_90"]
    assert manifest["macs"] == network.macs and manifest["device_bytes"] > 0
    assert manifest["kernels"][1]["macs"] > 0 and manifest["kernels"][-1]["rows"]


@pytest.mark.parametrize(
    "name, settings",
    [
        ("examples/mobilenet_v1.mn", {"width": "0.25", "resolution": "64", "batch": "2"}),
        ("tests/networks/primitives.mn", {"batch": "2"}),
    ],
)
def test_other_networks(name: str, settings: dict[str, str], tmp_path: Path) -> None:
    """Batches; every operator, several outputs."""
    network = load(name, settings)
    expect_right_on_standin(network, random_weights(network, 3), tmp_path, "cuda-sm80", None)


def test_float16(tmp_path: Path) -> None:
    network = load("docs/tiny.mn", {})
    expect_right_on_standin(network, random_weights(network, 3), tmp_path, "cuda-sm80", None, HALF)


POINTWISE = """network pointwise
defaults padding symmetric
input image: 14x14x96
output y = image -> conv 1x1 160
"""


@pytest.mark.parametrize("static", [48 << 10, 0])
def test_a_single_product_in_float16(static: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library of one launch, with shared memory of its own and with that of the launch."""
    monkeypatch.setattr(lower_cuda, "STATIC_SHARED", static)
    (tmp_path / "pointwise.mn").write_text(POINTWISE, encoding="utf-8")
    network = load(str(tmp_path / "pointwise.mn"), {})
    files = expect_right_on_standin(network, random_weights(network, 3), tmp_path, "cuda-sm80", None, HALF)
    (kernel,) = json.loads(files.manifest.read_text())["kernels"]
    assert kernel["family"] == "gpu_warp_product" and (kernel["shared_bytes"] > 0) == (static == 0)


@NVCC
@pytest.mark.full
@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_published_mobilenets(name: str, tmp_path: Path) -> None:
    network = load(f"examples/{name}.mn", {})
    expect_right_on_standin(network, random_weights(network, 3), tmp_path, "cuda-sm75,cuda-sm90", find_nvcc())
