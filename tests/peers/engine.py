"""Engines for tests: in this Python, or in the one that `make bench` installs them into."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from mncc.network.graph import Network
from mncc.peers import ENGINES, Handover, enter
from mncc.reference import Twin
from mncc.verbs.inputs import random_inputs
from mncc.weights import Weights

INSTALLED = Path(__file__).resolve().parents[2] / "bench" / "peers" / ".venv"
MODULES = {"litert": "ai_edge_litert"}
"""Packages that are imported under another name."""
PEERS = ("onnxruntime", "openvino", "litert", "ncnn")


def python_with(engine: str) -> Path:
    """An interpreter that has the engine; skips the test where there is none."""
    module = MODULES.get(engine, engine)
    if find_spec(module):
        return Path(sys.executable)
    if not any(INSTALLED.glob(f"lib/*/site-packages/{module}")):
        pytest.skip(f"{engine} is not installed")
    return INSTALLED / "bin" / "python"


def difference(engine: str, network: Network, weights: Weights, folder: Path, spread: float = 1.0) -> float:
    """The largest difference of the engine's outputs from the twin's, as a share of the largest element of an output;
    `spread` is the standard deviation of its inputs. Raises PeerError where the engine cannot be given the network."""
    inputs = [np.float32(spread) * array for array in random_inputs(network)]
    values = Twin(network, weights).run(inputs, keep={output.value for output in network.outputs})
    expected = [values[output.value] for output in network.outputs]
    files = Handover(folder, network, weights.tensors, folder, inputs, expected)
    with ExitStack() as stack:
        return enter(stack, ENGINES[engine], 1, files, python_with(engine)).difference
