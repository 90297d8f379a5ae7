"""Weights into a file with mncc's own names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mncc.weights.tensors import Weights


def save_weights(weights: Weights, path: str | Path) -> None:
    """Writes a .safetensors file with a tensor `node.role` each, in mncc's layouts; `load_weights` reads it back.

    Raises OSError where the file cannot be written.
    """
    from safetensors.numpy import save

    named = {f"{node}.{role}": np.ascontiguousarray(array) for (node, role), array in sorted(weights.tensors.items())}
    Path(path).write_bytes(save(named, {"format": "mncc", "source": weights.source}))
