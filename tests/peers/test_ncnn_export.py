"""Networks handed to ncnn: the form of the files, and the numbers against the twin where ncnn is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from mncc.elaborate import load
from mncc.network.graph import Network
from mncc.peers.ncnn_export import export_ncnn
from mncc.peers.process import WORKER
from mncc.reference import Twin
from mncc.weights import Weights, load_weights
from tests.peers.test_onnx_export import CASES, single

TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"


def run(network: Network, weights: Weights, inputs: list[np.ndarray], folder: Path) -> list[np.ndarray]:
    """The network's outputs as ncnn computes them, in the network's layout."""
    export_ncnn(network, weights.tensors, folder / "model.ncnn")
    if not find_spec("ncnn"):
        pytest.skip("ncnn is not installed")
    files = []
    for index, array in enumerate(inputs):
        files.append(str(folder / f"input{index}.npy"))
        np.save(files[-1], np.ascontiguousarray(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array))
    job = {"engine": "ncnn", "package": "ncnn", "model": str(folder / "model.ncnn"), "inputs": files}
    job |= {"folder": str(folder), "threads": 1, "cpus": [0]}
    command = [sys.executable, str(WORKER)]
    done = subprocess.run(command, input=json.dumps(job) + "\n", capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert "outputs" in answer, answer
    arrays = [np.load(file) for file in answer["outputs"]]
    return [array.transpose(0, 2, 3, 1) if array.ndim == 4 else array for array in arrays]


@pytest.mark.parametrize("name", CASES)
def test_operators(name: str, tmp_path: Path) -> None:
    op, shapes = CASES[name]
    network, tensors = single(op, shapes)
    random = np.random.default_rng(1)
    inputs = [4 * random.standard_normal(shape, dtype=np.float32) for shape in shapes]
    weights = Weights(tensors, "")
    (got,) = run(network, weights, inputs, tmp_path)
    expected = Twin(network, weights).run(inputs)["y"]
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


def test_files(tmp_path: Path) -> None:
    network = load(TINY, {})
    weights = load_weights(network, "random:0")
    export_ncnn(network, weights.tensors, tmp_path / "model.ncnn")
    magic, sizes, *lines = (tmp_path / "model.ncnn").read_text().splitlines()
    layers, blobs = map(int, sizes.split())
    assert magic == "7767517" and layers == len(lines)
    made: list[str] = []
    read: Counter[str] = Counter()
    for line in lines:
        kind, _, inputs, outputs, *rest = line.split()
        names = rest[: int(inputs)]
        assert set(names) <= set(made), f"{kind} reads what is not made yet"
        read.update(names)
        made += rest[int(inputs) : int(inputs) + int(outputs)]
    assert len(set(made)) == len(made) == blobs
    assert max(read.values()) == 1
    unread = {name for name in made if not read[name]}
    assert unread == {f"out{index}" for index in range(len(network.outputs))}


def test_networks(tmp_path: Path) -> None:
    network = load(TINY, {})
    weights = load_weights(network, "random:3")
    inputs = [np.random.default_rng(2).standard_normal(i.type.shape, dtype=np.float32) for i in network.inputs]
    values = Twin(network, weights).run(inputs)
    for output, got in zip(network.outputs, run(network, weights, inputs, tmp_path), strict=True):
        expected = values[output.value]
        assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
