"""The safetensors format (https://github.com/huggingface/safetensors)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from mncc.language.diagnostic import DiagnosticError
from mncc.weights.errors import BrokenFile
from mncc.weights.stored import Archive, Stored

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}


@contextmanager
def open_safetensors(path: str) -> Iterator[Archive]:
    """The tensors of a .safetensors file while it is open. Raises DiagnosticError where it is not one."""
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise DiagnosticError([BrokenFile(path, "safetensors", str(error))]) from None
    with file:
        tensors = {}
        for name in file.keys():  # noqa: SIM118 - not a dict
            part = file.get_slice(name)
            dtype = DTYPES.get(part.get_dtype(), part.get_dtype())
            tensors[name] = Stored(name, tuple(part.get_shape()), dtype, _reader(path, name, dtype, file))
        yield Archive(tensors)


def _reader(path: str, name: str, dtype: str, file):  # type: ignore[no-untyped-def]
    """numpy has no bfloat16: those tensors go through torch."""

    def read() -> np.ndarray:
        if dtype != "bfloat16":
            return np.asarray(file.get_tensor(name))
        from safetensors import safe_open

        with safe_open(path, framework="pt") as other:
            return np.asarray(other.get_tensor(name).float().numpy())

    return read
