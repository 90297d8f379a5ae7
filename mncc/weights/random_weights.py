"""`random:SEED`: weights under which activations neither die nor explode, equal on every machine."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from mncc.network.graph import Network, Node
from mncc.network.ops import Activation, Add, Depthwise, Norm
from mncc.network.types import TensorType
from mncc.weights.moments import Moments, carry
from mncc.weights.tensors import Weights, frozen

ACTIVE = 0.65
"""Beta in front of an activation. A norm around 0 followed by a ReLU amplifies every difference by 1.2 (of the
variance, half passes and a third is left once the mean is gone: 0.5 / 0.34 = 1.21 squared), rounding errors too, which
35 layers turn into 800 times. Around 0.65 it is 1.1, as in trained networks, and inputs still tell outputs apart.
Around 1 it would be less, but there the means that products cancel are so much larger than what is left that hard swish
and gates lose more than ReLUs gain."""


def random_weights(network: Network, seed: int) -> Weights:
    """Kernels drawn as He et al. 2015 (uniform), norms with the statistics that their kernels lead to.

    A kernel without a norm behind it is scaled to a variance of 1, and its bias takes the mean away: otherwise what
    two inputs have in common would grow from layer to layer until all outputs were nearly equal. Every tensor has
    its own stream, so that a change of one operator leaves the other tensors' draws as they were.
    """
    tensors: dict[tuple[str, str], np.ndarray] = {}
    moments = {i.name: Moments(np.zeros(i.type.shape[-1]), np.ones(i.type.shape[-1])) for i in network.inputs}
    for node in network.nodes:
        inputs = [moments[name] for name in node.inputs]
        types = network.input_types(node)
        drawn = _draw(network, node, inputs, seed)
        for role, array in drawn.items():
            tensors[node.name, role] = frozen(array)
        weights = {role: tensors[node.name, role] for role in drawn}
        moments[node.name] = carry(node.op, inputs, types, node.type, weights)
    return Weights(tensors, f"random:{seed}")


def _draw(network: Network, node: Node, inputs: list[Moments], seed: int) -> dict[str, np.ndarray]:
    """Role -> array of one node."""
    types = network.weights(node)
    if not types:
        return {}
    if isinstance(node.op, Norm):
        return _norm(node, inputs[0], seed, ACTIVE if _is_activated(network, node) else 0.0)
    drawn = {role: np.zeros(type.shape, np.float32) for role, type in types.items()}
    for role, type in types.items():
        if role != "bias":
            drawn[role] = _he(node, role, type, seed)
    before = carry(node.op, inputs, network.input_types(node), node.type, drawn)
    normalised = any(isinstance(user.op, Norm) for user in network.users[node.name])
    if not normalised and "kernel" in drawn:
        scale = _coarse(1 / np.sqrt(np.maximum(before.variance.mean(), 1e-12)))
        drawn["kernel"] = drawn["kernel"] * scale.astype(np.float32)
        before = Moments(before.mean * scale, before.variance * scale**2)
    if "bias" in types:
        deviation = np.sqrt(before.variance.mean())
        drawn["bias"] = _coarse(-before.mean) + _coarse(deviation) * _uniform(node, "bias", types["bias"], seed, 0.1)
    return drawn


def _is_activated(network: Network, node: Node) -> bool:
    """True where an activation follows, directly or behind the sum with a shortcut."""
    users = network.users[node.name]
    after = [later for user in users if isinstance(user.op, Add) for later in network.users[user.name]]
    return any(isinstance(user.op, Activation) for user in (*users, *after))


def _norm(node: Node, source: Moments, seed: int, centre: float) -> dict[str, np.ndarray]:
    """Statistics near the estimated ones, gamma near 1, beta near `centre`."""
    type = TensorType(source.mean.shape)
    jitter = {role: _uniform(node, role, type, seed, 0.25) for role in ("gamma", "beta", "mean", "variance")}
    variance = np.maximum(source.variance, source.variance.mean() * 1e-3 + 1e-12)
    return {
        "gamma": 1 + jitter["gamma"],
        "beta": np.float32(centre) + jitter["beta"],
        "mean": _coarse(source.mean) + jitter["mean"] * _coarse(np.sqrt(variance)) * 0.4,
        "variance": _coarse(variance) * (1 + jitter["variance"]),
    }


def _he(node: Node, role: str, type: TensorType, seed: int) -> np.ndarray:
    """Uniform with variance 2 / fan-in; depthwise kernels have one channel's taps as their fan-in."""
    fan_in = type.shape[:2] if isinstance(node.op, Depthwise) else type.shape[:-1]
    return _uniform(node, role, type, seed, float(np.sqrt(6 / math.prod(fan_in))))


def _uniform(node: Node, role: str, type: TensorType, seed: int, reach: float) -> np.ndarray:
    """Uniform in [-reach, reach), float32, from this tensor's own stream: no library function is involved whose
    last bit could differ between machines."""
    name = hashlib.sha256(f"{node.name}.{role}".encode()).digest()
    words = [seed & 0xFFFFFFFF, seed >> 32, *np.frombuffer(name, "<u4").tolist()]
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
    drawn = generator.random(type.shape, np.float32)
    return (drawn * np.float32(2) - np.float32(1)) * np.float32(reach)


def _coarse(values: np.ndarray | np.float64) -> np.ndarray:
    """Rounded to 12 bits: estimates are sums, whose last bits depend on the machine's vector width."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.round(mantissa * 4096) / 4096, exponent))
