"""The text that GPUs run, run on the CPU: every kernel of whole networks against the twin."""

from __future__ import annotations

from pathlib import Path

import pytest

from mncc.elaborate import load
from mncc.weights.random_weights import random_weights
from tests.networks.gpu import expect_right_on_gpu

TARGETS = ("cuda-sm75", "cuda-sm80", "cuda-sm87")


def check(file: str, settings: dict[str, str], target: str, folder: Path) -> None:
    network = load(file, settings)
    expect_right_on_gpu(network, random_weights(network, 3), folder, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "name, settings",
    [
        ("mobilenet_v1", {"width": "0.25", "resolution": "64"}),
        ("mobilenet_v2", {"width": "0.35", "resolution": "96"}),
    ],
)
def test_small_mobilenets(name: str, settings: dict[str, str], target: str, tmp_path: Path) -> None:
    check(f"examples/{name}.mn", settings, target, tmp_path)


@pytest.mark.parametrize("settings", [{}, {"batch": "2", "width": "0.5", "padding": "same"}])
def test_every_operator(settings: dict[str, str], tmp_path: Path) -> None:
    check("tests/networks/primitives.mn", settings, "cuda-sm80", tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("target", ("cuda-sm80", "cuda-sm87"))
@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_published_mobilenets(name: str, target: str, tmp_path: Path) -> None:
    check(f"examples/{name}.mn", {}, target, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("name", ["shufflenet_v1", "squeezenet", "mobilenet_v3_small", "resnext50", "mnasnet"])
def test_other_networks(name: str, tmp_path: Path) -> None:
    check(f"examples/{name}.mn", {"resolution": "64"}, "cuda-sm80", tmp_path)
