"""The libraries that define published networks write files of weights, and run their own networks for comparison."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

FOLDER = Path(sys.prefix) / "producers"
"""Where `make test` installs them (producers.txt)."""


def producer(name: str) -> Any:
    """torchvision, timm or keras; the test is skipped where they are not installed."""
    if not (FOLDER / name).is_dir():
        pytest.skip(f"{name} is not installed in {FOLDER}: `make test` does it")
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    # torchvision's own operators are of no use here, and their shape rules fail to register without the operators.
    sys.modules.setdefault("torchvision._meta_registrations", ModuleType("torchvision._meta_registrations"))
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["KERAS_HOME"] = str(FOLDER / "home")
    __import__(name)
    return sys.modules[name]


def settled(model: torch.nn.Module, resolution: int) -> torch.nn.Module:
    """A torch model in evaluation mode, its statistics from a batch of noise and then moved away from it, with gamma
    and beta that tell one norm from another."""
    generator = torch.Generator().manual_seed(1)

    def random(tensor: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return torch.rand(tensor.shape, generator=generator) * (high - low) + low

    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.data = random(norm.weight, 0.8, 1.2)
        norm.bias.data = random(norm.bias, -0.3, 0.5)
        norm.reset_running_stats()
        norm.momentum = None  # the average of all batches, here one
    model.train()
    with torch.no_grad():
        model(torch.randn(2, 3, resolution, resolution, generator=generator))
    for norm in norms:
        norm.running_mean += norm.running_var.sqrt() * random(norm.running_mean, -0.2, 0.2)
        norm.running_var *= random(norm.running_var, 0.8, 1.25)
    return model.eval()


def torch_result(model: torch.nn.Module, picture: np.ndarray) -> np.ndarray:
    """What a torch model makes of (N, H, W, C), in float64; the model stays in float32."""
    import copy

    with torch.inference_mode():
        result: np.ndarray = copy.deepcopy(model).double()(torch.from_numpy(picture).permute(0, 3, 1, 2)).numpy()
    return result


def settle_keras(model: Any, resolution: int) -> None:
    """The same for a Keras model."""
    generator = np.random.Generator(np.random.PCG64(1))
    norms = [layer for layer in model.layers if hasattr(layer, "moving_mean")]
    for norm in norms:
        size = norm.moving_mean.shape
        if norm.gamma is not None:
            norm.gamma.assign(generator.uniform(0.8, 1.2, size))
        norm.beta.assign(generator.uniform(-0.3, 0.5, size))
        norm.momentum = 0.0
    model(generator.normal(size=(2, resolution, resolution, 3)).astype(np.float32), training=True)
    for norm in norms:
        mean, variance = (np.asarray(value.detach()) for value in (norm.moving_mean.value, norm.moving_variance.value))
        norm.moving_mean.assign(mean + np.sqrt(variance) * generator.uniform(-0.2, 0.2, mean.shape))
        norm.moving_variance.assign(variance * generator.uniform(0.8, 1.25, mean.shape))


def keras_result(keras: Any, build: Callable[[], Any], model: Any, picture: np.ndarray) -> np.ndarray:
    """What a Keras model makes of (N, H, W, C), in float64: `build` makes it again, with the values of `model`."""
    # Keras rounds to float32 wherever it asks for a common type, whatever the types of inputs and layers.
    narrower = keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(narrower, "float64", "float64")
        single = keras.config.floatx(), keras.config.dtype_policy()
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        try:
            exact = build()
            exact.set_weights(model.get_weights())
            result: np.ndarray = exact(picture.astype(np.float64), training=False).detach().numpy()
        finally:
            keras.config.set_floatx(single[0])
            keras.config.set_dtype_policy(single[1])
    return result
