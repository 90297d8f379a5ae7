"""The producers' namings, and which one a file follows."""

from __future__ import annotations

from mncc.weights.naming.base import Convention, Module, Naming, Signature
from mncc.weights.naming.keras import Keras
from mncc.weights.naming.own import Own
from mncc.weights.naming.timm import Timm
from mncc.weights.naming.torchvision import Torchvision
from mncc.weights.stored import Archive

NAMINGS: tuple[Naming, ...] = (Own(), Keras(), Timm(), Torchvision())
"""The first that recognises a file has it; the general one stands last."""


def recognise(archive: Archive) -> Naming | None:
    """The naming of a file's tensors; None where no producer is known to write such names."""
    return next((naming for naming in NAMINGS if naming.recognises(archive)), None)


__all__ = ["NAMINGS", "Convention", "Module", "Naming", "Signature", "recognise"]
