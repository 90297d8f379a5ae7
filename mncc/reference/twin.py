"""The torch twin: a network computed by torch, from the graph before any pass. What every kernel is compared with."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from mncc.network.graph import Network
from mncc.weights import Weights


class Twin:
    """A network with its weights, as torch computes it operator by operator.

    Build it from the Network before any pass, so that folding, fusing and packing are checked and not repeated.
    """

    def __init__(self, network: Network, weights: Weights) -> None:
        self.network, self.weights = network, weights
        self._cast: dict[tuple[str, str, torch.dtype], torch.Tensor] = {}

    def run(
        self,
        inputs: Sequence[np.ndarray],
        dtype: str = "float64",
        keep: Collection[str] | None = None,
        threads: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Value name -> array with its batch axis, NHWC or (N, C), for the names in `keep` or all values.

        `inputs` stand in the network's order with their batch axis, already normalised. With `keep`, a value is let
        go after its last use, which keeps a run of a large network small. `threads` are torch's for this run; its
        own setting stays as it was. Raises ValueError for inputs of the wrong
        number or shape and KeyError for names in `keep` that the network does not have.
        """
        network = self.network
        if len(inputs) != len(network.inputs):
            raise ValueError(f"{network.name} has {len(network.inputs)} inputs, but {len(inputs)} were given")
        wanted = set(network.types if keep is None else keep)
        if unknown := sorted(wanted - set(network.types)):
            raise KeyError(f"{network.name} has no value named {', '.join(unknown)}")
        precision = getattr(torch, dtype)
        values: dict[str, torch.Tensor] = {}
        for declared, array in zip(network.inputs, inputs, strict=True):
            if array.shape != declared.type.shape:
                raise ValueError(f"input {declared.name} has shape {array.shape} instead of {declared.type.shape}")
            values[declared.name] = torch.from_numpy(np.ascontiguousarray(array)).to(precision)
        with torch.inference_mode(), _threads(threads):
            return self._run(values, wanted, precision)

    def _run(self, values: dict[str, torch.Tensor], wanted: set[str], precision: torch.dtype) -> dict[str, np.ndarray]:
        """Computes node by node; `values` holds the inputs and is used up."""
        network = self.network
        kept = {name: values[name].numpy() for name in values if name in wanted}
        last = {name: node.name for node in network.nodes for name in node.inputs}
        for node in network.nodes:
            roles = {role: self._weight(node.name, role, precision) for role in network.weights(node)}
            value = node.op.torch([values[name] for name in node.inputs], roles)
            assert tuple(value.shape) == node.type.shape, f"the twin of {node.name} makes {tuple(value.shape)}"
            values[node.name] = value
            if node.name in wanted:
                kept[node.name] = np.ascontiguousarray(value.numpy())
            for name in set(node.inputs):
                if last[name] == node.name:
                    del values[name]
        return kept

    def _weight(self, node: str, role: str, precision: torch.dtype) -> torch.Tensor:
        """A weight tensor in the precision of the run, converted once."""
        key = (node, role, precision)
        if key not in self._cast:
            self._cast[key] = torch.tensor(self.weights.tensors[node, role]).to(precision)
        return self._cast[key]


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """torch's number of threads, put back afterwards."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
