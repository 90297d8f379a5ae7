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
FEW = 32
"""Elements of which the median says nothing more than the largest."""


def inputs_of(network: Network, seed: int = 0) -> list[np.ndarray]:
    """Normal numbers."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(i.type.shape).astype(np.float32) for i in network.inputs]


ROUNDING = 4
"""An ill-conditioned network may be as many times as far off as torch's own float32."""


def errors(got: np.ndarray, twin: np.ndarray) -> tuple[float, float]:
    """The largest and the median one, of the twin's largest element."""
    found = np.abs(got - twin) / max(np.abs(twin).max(), 1e-30)
    return float(found.max()), float(np.median(found))


def expect_close(got: np.ndarray, twin: np.ndarray, what: str, single: np.ndarray | None = None) -> None:
    """Within the contract's tolerances, or within those that float32 leaves to `single`; NaN never is."""
    assert got.shape == twin.shape, what
    found, allowed = errors(got, twin), (LARGEST, MEDIAN)
    if single is not None:
        allowed = (LARGEST, LARGEST if got.size < FEW else MEDIAN)
        allowed = tuple(max(a, ROUNDING * e) for a, e in zip(allowed, errors(single, twin), strict=True))
    assert all(e < a for e, a in zip(found, allowed, strict=True)), f"{what}: {found[0]}, median {found[1]}"


def run_on_nan(library: Library, inputs: Sequence[np.ndarray], threads: int) -> list[np.ndarray]:
    """Outputs of a run whose tasks are done in reverse, in a workspace full of NaN and exactly as large as it says."""
    workspace = aligned_empty(library.workspace_bytes(threads))
    workspace.view(np.float32).fill(np.nan)
    outputs = [np.full(tensor.shape, np.nan, np.float32) for tensor in library.outputs]
    library.run_exec(inputs, outputs, workspace, ordered_exec(threads, "reversed"))
    return outputs


def expect_right(
    network: Network, weights: Weights, folder: Path, target: str = "native", ill_conditioned: bool = False
) -> Library:
    """Every output agrees with the twin; bits are the same for any number of threads, in any order. What may be
    `ill_conditioned` is held to torch's float32 where that is further off than the contract allows."""
    spec, _ = compile_network(network, load_target(target), weights, "net")
    write_library(spec, folder)
    library, inputs = Library(folder), inputs_of(network)
    reference, keep = Twin(network, weights), {o.value for o in network.outputs}
    twin = reference.run(inputs, keep=keep)
    single = reference.run(inputs, keep=keep, dtype="float32") if ill_conditioned else {}
    outputs = library.run(*inputs)
    for output, got in zip(network.outputs, outputs, strict=True):
        expect_close(got, twin[output.value], output.name, single.get(output.value))
    bits = [output.tobytes() for output in outputs]
    for threads in THREADS:
        assert [o.tobytes() for o in run_on_nan(library, inputs, threads)] == bits, f"{threads} threads, reversed"
        assert [o.tobytes() for o in library.run(*inputs, threads=threads)] == bits, f"{threads} threads"
    library.selftest(2)
    return library
