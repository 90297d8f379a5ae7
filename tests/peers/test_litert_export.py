"""Networks folded, and handed to LiteRT where it is installed, against the twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mncc.elaborate import load
from mncc.network.graph import Network
from mncc.network.ops import Norm
from mncc.peers.fold import fold
from mncc.peers.litert_export import export_litert
from mncc.peers.worker.litert_model import build
from mncc.reference import Twin
from mncc.weights import Weights, load_weights
from tests.peers.test_onnx_export import CASES, single

TINY = Path(__file__).resolve().parents[2] / "docs" / "tiny.mn"


def tiny() -> Network:
    return load(TINY, {})


def test_norms_and_activations_are_folded() -> None:
    network = tiny()
    steps = fold(network, load_weights(network, "random:0").tensors)
    assert len(steps) < len(network.nodes)
    assert not any(isinstance(step.op, Norm) for step in steps)
    assert {step.activation for step in steps} == {"", "relu6"}
    made = {i.name for i in network.inputs}
    for step in steps:
        assert set(step.inputs) <= made
        made.add(step.name)
    assert {output.value for output in network.outputs} <= made


def test_what_is_read_twice_or_shown_is_not_folded() -> None:
    from mncc.network.graph import Output

    network = tiny()
    convolution = next(node for node in network.nodes if node.op.name == "conv")
    shown = Network(network.name, network.inputs, network.nodes, (*network.outputs, Output("raw", convolution.name)))
    steps = fold(shown, load_weights(network, "random:0").tensors)
    assert convolution.name in {step.name for step in steps}
    assert sum(isinstance(step.op, Norm) for step in steps) == 1


def run(network: Network, weights: Weights, inputs: list[np.ndarray], file: Path) -> list[np.ndarray]:
    """The network's outputs as LiteRT computes them."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    export_litert(network, weights.tensors, file)
    session = interpreter.Interpreter(model_content=build(str(file)), num_threads=1)
    session.allocate_tensors()
    for declared, array in zip(session.get_input_details(), inputs, strict=True):
        session.set_tensor(declared["index"], array)
    session.invoke()
    return [session.get_tensor(declared["index"]) for declared in session.get_output_details()]


@pytest.mark.parametrize("name", CASES)
def test_operators(name: str, tmp_path: Path) -> None:
    op, shapes = CASES[name]
    network, tensors = single(op, shapes)
    weights = Weights(tensors, "")
    random = np.random.default_rng(1)
    inputs = [4 * random.standard_normal(shape, dtype=np.float32) for shape in shapes]
    (got,) = run(network, weights, inputs, tmp_path / "model.npz")
    expected = Twin(network, weights).run(inputs)["y"]
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


def test_networks(tmp_path: Path) -> None:
    network = tiny()
    weights = load_weights(network, "random:3")
    inputs = [np.random.default_rng(2).standard_normal(i.type.shape, dtype=np.float32) for i in network.inputs]
    values = Twin(network, weights).run(inputs)
    for output, got in zip(network.outputs, run(network, weights, inputs, tmp_path / "model.npz"), strict=True):
        expected = values[output.value]
        assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
