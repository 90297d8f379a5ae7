"""Weights: one file a format, one table a producer's naming."""

from mncc.weights.load import load_weights
from mncc.weights.save import save_weights
from mncc.weights.tensors import Weights

__all__ = ["Weights", "load_weights", "save_weights"]
