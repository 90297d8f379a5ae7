"""bench/cuda/worker.py where neither TensorRT nor a GPU is: with stand-ins for `tensorrt` and for what it asks of
torch.cuda. What it imports otherwise is real."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cuda.worker import OPEN
from mncc.peers.worker.worker import Session, main

published = metadata.version


def version(package: str) -> str:
    """Of the stand-in, that of the bindings whose names it has."""
    return "11.4 (stand-in)" if package == "tensorrt" else published(package)


def open_tensorrt(*arguments: Any) -> Session:
    """With the stand-in's module."""
    sys.modules["tensorrt"] = import_module("tests.bench.cuda_tensorrt")
    return OPEN["tensorrt"](*arguments)


def open_torch_graph(model: str, inputs: Sequence[np.ndarray], threads: int, folder: Path) -> Session:
    """With the stand-ins in torch.cuda."""
    import_module("tests.bench.cuda_torch").install(pytest.MonkeyPatch())
    return OPEN["torch-graph"](model, inputs, threads, folder)


if __name__ == "__main__":
    metadata.version = version
    main({**OPEN, "tensorrt": open_tensorrt, "torch-graph": open_torch_graph})
