"""Pictures as the networks of the papers want them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mncc.language.diagnostic import Diagnostic, DiagnosticError
from mncc.verbs.errors import NotForPictures, PictureUnreadable

if TYPE_CHECKING:
    from PIL.Image import Image

    from mncc.network.graph import Input, Network

_MODES = {1: "L", 3: "RGB"}
_BORDER = 256 / 224
"""How much larger than the crop a picture is made first: the papers' 256 for a crop of 224."""


def picture_input(network: Network) -> Input:
    """The network's only input, a picture of one or three channels. Raises DiagnosticError for other networks."""
    only = network.inputs[0]
    if len(network.inputs) != 1 or only.type.rank != 4 or only.type.shape[3] not in _MODES:
        shapes = tuple(f"{i.name} {i.type}" for i in network.inputs)
        raise DiagnosticError([NotForPictures(network.name, shapes)])
    return only


def load_pictures(paths: Sequence[Path], input: Input) -> list[np.ndarray]:
    """Every picture as float32 (H, W, C) of the input. Raises one DiagnosticError for all that cannot be read."""
    pictures: list[np.ndarray] = []
    wrong: list[Diagnostic] = []
    for path in paths:
        try:
            pictures.append(load_picture(path, input))
        except DiagnosticError as error:
            wrong += error.diagnostics
    if wrong:
        raise DiagnosticError(wrong)
    return pictures


def load_picture(path: Path, input: Input) -> np.ndarray:
    """One picture as float32 (H, W, C): upright, the shorter side resized to 256 / 224 of the input (bilinear),
    centre cropped, (value / 255 - mean) / std, where mean and std stand in the input's order of channels.

    Raises DiagnosticError."""
    from PIL import Image, ImageOps

    _, height, width, channels = input.type.shape
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert(_MODES[channels])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DiagnosticError([PictureUnreadable(str(path), _reason(error))]) from error
    values: np.ndarray = np.asarray(_crop(picture, height, width), np.float32).reshape(height, width, channels)
    values = (values[..., ::-1] if input.channels == "BGR" else values) / np.float32(255)
    if input.mean:
        values = values - np.asarray(input.mean, np.float32)
    if input.std:
        values = values / np.asarray(input.std, np.float32)
    return np.ascontiguousarray(values)


def _crop(picture: Image, height: int, width: int) -> Image:
    from PIL import Image

    scale = max(round(height * _BORDER) / picture.height, round(width * _BORDER) / picture.width)
    size = round(picture.width * scale), round(picture.height * scale)
    resized = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return resized.crop((left, top, left + width, top + height))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip() or type(error).__name__
    return "it is not in a format that Pillow knows" if text.startswith("cannot identify") else text
