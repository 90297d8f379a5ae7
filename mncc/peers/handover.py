"""What engines are given, as files: the network in every form, its inputs, and what mncc's library makes of them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from mncc.network.graph import Network
from mncc.peers.engines import Engine, Form, PeerError

TOLERANCE = 1e-3
"""Largest difference from mncc's outputs, as a share of their largest element, that still is the same network: far
beyond float32's rounding, far below float16's or a wrong weight's."""


class Handover:
    """One network's files, written into `folder` when an engine first needs them.

    `library` is libNAME.so, `inputs` and `expected` are the network's inputs and the library's outputs, NHWC.
    """

    def __init__(
        self,
        folder: Path,
        network: Network,
        tensors: Mapping[tuple[str, str], np.ndarray],
        library: Path,
        inputs: Sequence[np.ndarray],
        expected: Sequence[np.ndarray],
        tolerance: float = TOLERANCE,
    ) -> None:
        self._folder, self._network, self._tensors, self._library = folder, network, tensors, library
        self._inputs, self._expected, self._tolerance = inputs, expected, tolerance
        self.model = cache(self._model)
        """Form -> the file; raises PeerError where the network has none in this form."""
        self.inputs = cache(self._input_files)
        """Whether pictures go in as (N, C, H, W) -> one .npy an input, float32."""

    def folder(self, engine: Engine, threads: int) -> Path:
        """A place for the engine's own files."""
        own = self._folder / f"{engine.name}-{threads}"
        own.mkdir(parents=True, exist_ok=True)
        return own

    def difference(self, engine: Engine, files: Sequence[Path]) -> float:
        """The largest difference between an engine's outputs and mncc's, as a share of the largest element of an
        output. Raises PeerError where they are not the same network's."""
        if len(files) != len(self._expected):
            raise PeerError(f"makes {len(files)} outputs instead of {len(self._expected)}")
        largest = 0.0
        for output, file, expected in zip(self._network.outputs, files, self._expected, strict=True):
            got = np.load(file)
            if engine.channels_first and got.ndim == 4:
                got = got.transpose(0, 2, 3, 1)
            if got.size != expected.size:
                raise PeerError(f"makes {output.name} of shape {got.shape} instead of {expected.shape}")
            error = np.abs(got.reshape(expected.shape).astype(np.float64) - expected).max()
            relative = float(error / max(np.abs(expected).max(), np.finfo(np.float32).tiny))
            if not relative <= self._tolerance:
                raise PeerError(f"computes something else: {output.name} differs by {relative:.1e} of its largest")
            largest = max(largest, relative)
        return largest

    def _model(self, form: Form) -> Path:
        if form == "library":
            return self._library
        file = self._folder / f"model.{form}"
        if form == "network":
            file.write_bytes(pickle.dumps((self._network, dict(self._tensors))))
        elif form == "onnx":
            from mncc.peers.onnx_export import export_onnx

            file.write_bytes(export_onnx(self._network, self._tensors).SerializeToString())
        elif form == "ncnn":
            from mncc.peers.ncnn_export import export_ncnn

            export_ncnn(self._network, self._tensors, file)
        else:
            from mncc.peers.litert_export import export_litert

            export_litert(self._network, self._tensors, file)
        return file

    def _input_files(self, channels_first: bool) -> tuple[Path, ...]:
        files = []
        for index, array in enumerate(self._inputs):
            file = self._folder / f"input{index}{'-first' if channels_first else ''}.npy"
            array = array.transpose(0, 3, 1, 2) if channels_first and array.ndim == 4 else array
            np.save(file, np.ascontiguousarray(array, np.float32))
            files.append(file)
        return tuple(files)
