"""Every kind of kernel on sizes that fit nothing: 97x129 pixels, one pixel, one row, channels that fill no vector."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mncc.elaborate import load
from mncc.weights.random_weights import random_weights
from tests.networks.compare import expect_right

ODD = Path(__file__).with_name("odd.mn")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LARGE = {"rows": "97", "columns": "129"}
SIZES = {
    "97x129": LARGE,
    "1x1": {"rows": "1", "columns": "1", "stride": "1"},
    "1x37": {"rows": "1", "columns": "37", "stride": "1"},
}
NARROW = {"width": "0.35"}
NETWORKS = {
    "mobilenet_v1": NARROW,
    "mobilenet_v2": NARROW,
    "mobilenet_v3_small": NARROW,
    "shufflenet_v1": {},
    "shufflenet_v2": {},
    "squeezenet": {},
    "resnet50": {},
}


def expect_odd(source: Path, settings: dict[str, str], folder: Path, target: str) -> None:
    network = load(source, settings)
    expect_right(network, random_weights(network, 5), folder / "out", target)


@pytest.mark.parametrize("size", ["97x129", "1x1"])
def test_kernels(size: str, tmp_path: Path) -> None:
    expect_odd(ODD, SIZES[size], tmp_path, "native")


@pytest.mark.full
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
@pytest.mark.parametrize("batch", ["1", "3"])
@pytest.mark.parametrize("size", SIZES)
def test_other_targets_and_batches(size: str, batch: str, target: str, tmp_path: Path) -> None:
    expect_odd(ODD, {**SIZES[size], "batch": batch}, tmp_path, target)


@pytest.mark.full
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str, target: str, tmp_path: Path) -> None:
    """The examples as they stand, but for an input that is not square."""
    text = (EXAMPLES / f"{name}.mn").read_text(encoding="utf-8")
    text = re.sub(r"^(network \w+\(.*)\)", r"\1, rows = 224, columns = 224)", text, flags=re.M)
    text = text.replace("input image: resolution x resolution", "input image: rows x columns")
    source = tmp_path / f"{name}.mn"
    source.write_text(text, encoding="utf-8")
    expect_odd(source, {**NETWORKS[name], **LARGE}, tmp_path, target)
