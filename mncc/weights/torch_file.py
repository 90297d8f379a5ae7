"""Torch's state dicts. A pickle is only ever read with `weights_only`, which runs no code."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from mncc.language.diagnostic import Diagnostic, DiagnosticError
from mncc.weights.errors import BrokenFile, NotAStateDict, PickleRefused
from mncc.weights.stored import Archive, Stored

NESTED = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "weights", "params")
"""Under which names training scripts put the state dict into a checkpoint."""


@contextmanager
def open_torch(path: str) -> Iterator[Archive]:
    """The tensors of a .pth or .pt file. Raises DiagnosticError where it is damaged or holds anything else."""
    loaded = _load(path)
    state = _state_dict(path, loaded)
    tensors = {}
    for name, tensor in state.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        tensors[name] = Stored(name, tuple(tensor.shape), dtype, _reader(path, name, tensor))
    yield Archive(tensors, defined=True)


def _load(path: str) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DiagnosticError([_refusal(path, str(error))]) from None
    except OSError:
        raise
    except Exception as error:
        # torch raises whatever its readers meet in a damaged file: RuntimeError, EOFError, KeyError, ValueError ...
        if "TorchScript" in str(error):
            raise DiagnosticError([PickleRefused(path, "it is a TorchScript program")]) from None
        reason = str(error).strip().split("\n")[0][:120] or type(error).__name__
        raise DiagnosticError([BrokenFile(path, "torch", reason)]) from None


def _refusal(path: str, reason: str) -> Diagnostic:
    """What the unpickler stopped at: a name that is no tensor's, an instruction that tensors do not need, or noise."""
    if found := re.search(r"(?:GLOBAL|class|type) [`']?([A-Za-z_][\w.]+)", reason.split("\n", 1)[-1]):
        return PickleRefused(path, f"it names {found[1]}")
    with open(path, "rb") as file:
        if file.read(1) == b"\x80":
            return PickleRefused(path, "it has instructions that no state dict has")
    return BrokenFile(path, "torch", "its pickle cannot be read")


def _state_dict(path: str, loaded: Any, depth: int = 0) -> Mapping[str, Any]:
    """The mapping of names to tensors, which may lie one or two names deep in a checkpoint."""
    import torch

    if not isinstance(loaded, Mapping):
        raise DiagnosticError([NotAStateDict(path, f"a {type(loaded).__name__}")])
    if depth < 2:
        for key in NESTED:
            if isinstance(loaded.get(key), Mapping):
                return _state_dict(path, loaded[key], depth + 1)
    tensors = {
        name: value
        for name, value in loaded.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout == torch.strided
    }
    if not tensors:
        found = "an empty mapping" if not loaded else f"a mapping with {', '.join(sorted(map(str, loaded))[:4])}"
        raise DiagnosticError([NotAStateDict(path, found)])
    if all(name.startswith("module.") for name in tensors):  # torch.nn.DataParallel puts this in front
        return {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def _reader(path: str, name: str, tensor: Any) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        if tensor.is_meta:
            raise DiagnosticError([BrokenFile(path, "torch", f"{name} has a shape and no data")])
        array: np.ndarray = tensor.detach().float().numpy()
        return array

    return read
