"""A network compiled, run in every way, and compared with its twin in float64."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mncc.devices.guarded import ordered_exec
from mncc.devices.loaded import Library, aligned_empty
from mncc.kernels.target import load_target
from mncc.library.write import write_library
from mncc.network.graph import Network
from mncc.reference import Twin
from mncc.verbs.compile import compile_network
from mncc.weights import Weights

THREADS = (1, 2, 3, 7)
LARGEST, MEDIAN = 1e-4, 2e-6
"""The contract's tolerances, of the twin's largest element."""


def inputs_of(network: Network, seed: int = 0) -> list[np.ndarray]:
    """Normal numbers."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(i.type.shape).astype(np.float32) for i in network.inputs]


def expect_close(got: np.ndarray, twin: np.ndarray, what: str) -> None:
    """Within the contract's tolerances; NaN never is."""
    assert got.shape == twin.shape, what
    errors = np.abs(got - twin) / max(np.abs(twin).max(), 1e-30)
    assert errors.max() < LARGEST and np.median(errors) < MEDIAN, f"{what}: {errors.max()}, median {np.median(errors)}"


def run_on_nan(library: Library, inputs: Sequence[np.ndarray], threads: int) -> list[np.ndarray]:
    """Outputs of a run whose tasks are done in reverse, in a workspace full of NaN and exactly as large as it says."""
    workspace = aligned_empty(library.workspace_bytes(threads))
    workspace.view(np.float32).fill(np.nan)
    outputs = [np.full(tensor.shape, np.nan, np.float32) for tensor in library.outputs]
    library.run_exec(inputs, outputs, workspace, ordered_exec(threads, "reversed"))
    return outputs


def expect_right(network: Network, weights: Weights, folder: Path, target: str = "native") -> Library:
    """Every output agrees with the twin; bits are the same for any number of threads, in any order."""
    spec, _ = compile_network(network, load_target(target), weights, "net")
    write_library(spec, folder)
    library, inputs = Library(folder), inputs_of(network)
    twin = Twin(network, weights).run(inputs, keep={o.value for o in network.outputs})
    outputs = library.run(*inputs)
    for output, got in zip(network.outputs, outputs, strict=True):
        expect_close(got, twin[output.value], output.name)
    bits = [output.tobytes() for output in outputs]
    for threads in THREADS:
        assert [o.tobytes() for o in run_on_nan(library, inputs, threads)] == bits, f"{threads} threads, reversed"
        assert [o.tobytes() for o in library.run(*inputs, threads=threads)] == bits, f"{threads} threads"
    library.selftest(2)
    return library
