"""The engines that `mncc bench` knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Form = Literal["library", "network", "onnx", "litert", "ncnn"]
"""What an engine is given: mncc's library, the pickled network with its weights, or a file of its own format."""


class PeerError(Exception):
    """An engine cannot be measured; the text says why, and where it can what to do."""


@dataclass(frozen=True)
class Engine:
    """One engine: its name on the command line, the package that holds it, and what it reads."""

    name: str
    package: str
    form: Form
    own: bool = False
    """True where it runs in the Python of mncc itself, whatever Python the others run in."""

    @property
    def channels_first(self) -> bool:
        """True where pictures go in and come out as (N, C, H, W)."""
        return self.form in ("onnx", "ncnn")


ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine("mncc", "mncc", "library", own=True),
        Engine("litert", "ai-edge-litert", "litert"),
        Engine("onnxruntime", "onnxruntime", "onnx"),
        Engine("openvino", "openvino", "onnx"),
        Engine("ncnn", "ncnn", "ncnn"),
        Engine("torch", "torch", "network", own=True),
    )
}
