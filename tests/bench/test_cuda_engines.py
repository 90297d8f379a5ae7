"""The engines of bench.cuda, without a GPU: onnxruntime itself on the CPU; TensorRT and CUDA graphs of
torch as stand-ins that have the published names and no others."""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.cuda import __main__ as bench_cuda
from bench.cuda.__main__ import ENGINES, REHEARSED_PACKAGES
from bench.cuda.worker import REHEARSAL
from mncc.elaborate import load
from mncc.peers import Handover, PeerError
from mncc.reference import Twin
from mncc.report.progress import Progress
from mncc.verbs.inputs import random_inputs
from mncc.weights import load_weights
from tests.bench import cuda_torch
from tests.library.cuda.toy import toy_standin

WORKER = Path(__file__).with_name("cuda_worker.py")
TWO = """
network two(size = 12)
input left: size x size x 3
input right: size x size x 5
defaults padding symmetric  activation relu6
body a from left
conv2d - 8 1 2
body b from right
conv2d - 8 1 2
body from concat(a, b)
bottleneck 6 16 1 2
output both = body -> globalpool
output second = b.row(1) -> conv 1x1 4
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stand-in driver."""
    return toy_standin(tmp_path_factory.mktemp("driver")).parent


def prepared(
    name: str, folder: Path, driver: Path, monkeypatch: pytest.MonkeyPatch, spoil: bool = False
) -> tuple[float, str]:
    """The largest error of an engine's outputs, after the runs of a first slice, and its version. Raises PeerError."""
    monkeypatch.setattr(bench_cuda, "WORKER", WORKER)
    (folder / "two.mn").write_text(TWO)
    network = load(folder / "two.mn", {})
    weights, inputs = load_weights(network, "random:1"), random_inputs(network)
    twin = Twin(network, weights).run(inputs, keep={output.value for output in network.outputs})
    expected = [twin[output.value] for output in network.outputs]
    given = Handover(folder, network, weights.tensors, folder, inputs, expected)
    engine = next(engine for engine in ENGINES if engine.name == name)
    if spoil:
        given.model(engine.form).write_bytes(b"no network")
    engine = replace(engine, package=REHEARSED_PACKAGES.get(name, engine.package))
    environment = {"PYTHONPATH": str(bench_cuda.ROOT), "LD_LIBRARY_PATH": str(driver), REHEARSAL: "1"}
    lost: dict[str, str] = {}

    def lose(engine: str, error: PeerError) -> None:
        lost[engine] = str(error)

    with ExitStack() as stack, Progress() as progress:
        ready = list(bench_cuda._enter(stack, [engine], given, environment, progress, lose))
        bench_cuda._run(ready, 0.01, 2, progress, lose)
        if lost:
            raise PeerError(lost[name])
        assert len(ready[0].wall) >= 2
        return ready[0].difference, ready[0].process.version


@pytest.mark.parametrize("engine", ["onnxruntime", "tensorrt", "torch-graph"])
def test_engine_computes_the_network(
    engine: str, tmp_path: Path, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    difference, version = prepared(engine, tmp_path, driver, monkeypatch)
    assert 0 < difference < 1e-5 and (version == "11.4 (stand-in)") == (engine == "tensorrt")


def test_tensorrt_says_what_it_refuses(tmp_path: Path, driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PeerError, match="TensorRT refuses the network: In node -1: MODEL_DESERIALIZE_FAILED"):
        prepared("tensorrt", tmp_path, driver, monkeypatch, spoil=True)


def test_standins_of_torch_are_called_as_torch_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is captured is not there before it is replayed, and is computed anew then."""
    own = list(inspect.signature(torch.cuda.graph.__init__).parameters)[1:]
    assert list(inspect.signature(cuda_torch.graph).parameters) == own[:4]
    assert {"replay"} <= set(dir(torch.cuda.CUDAGraph)) and {"wait_stream"} <= set(dir(torch.cuda.Stream))
    cuda_torch.install(monkeypatch)
    given, graph = torch.ones(3, 4), torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        made = (given.t() * 2).relu_()
        with pytest.raises(AssertionError, match="not permitted"):
            torch.cuda.synchronize()
    assert bool(made.isnan().all()) and bool((given == 1).all())
    graph.replay()
    assert np.array_equal(made.numpy(), np.full((4, 3), 2))
    given.fill_(-1)
    graph.replay()
    assert np.array_equal(made.numpy(), np.zeros((4, 3)))
