"""What a network is run on where nobody gave anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mncc.network.graph import Network


def random_inputs(network: Network, seed: int = 0) -> list[np.ndarray]:
    """An array for every input, as a normalised picture would be spread."""
    random = np.random.default_rng(seed)
    return [random.standard_normal(i.type.shape, dtype=np.float32) for i in network.inputs]
