"""Toy networks whose kernels are C: what the library room is tested with, without TVM."""

from __future__ import annotations

import functools
import platform
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from mncc.kernels.tiles import Phase, one_phase
from mncc.library.selftest import make_goldens, selftest_input
from mncc.library.spec import Golden, InterfaceTensor, KernelEntry, LibrarySpec, Slot

TRIPLE = f"{platform.machine()}-linux-gnu"
HEIGHT, WIDTH, CHANNELS, CLASSES = 5, 4, 3, 7
PIXELS = HEIGHT * WIDTH * CHANNELS
TWO_PHASES = (Phase(3, 2), Phase(CLASSES - 3, 3))
"""Blocks that do not divide their phases."""
HIDDEN_BYTES = 64 * -(-4 * PIXELS // 64)

# toy_scale: a row is an item, through its scratch. toy_dense, toy_mix: a class is an item. A test may add a FAULT.
KERNELS = """
#include <math.h>
#include <stdint.h>
#include <string.h>
int32_t toy_scale(int32_t begin, int32_t end, const void *weights, void *scratch, void *in, void *out) {
  const float *scale = weights;
  float *row = scratch;
  for (int32_t y = begin; y < end; y++) {
    memcpy(row, (const float *)in + y * 12, 12 * sizeof(float));
    for (int i = 0; i < 12; i++) ((float *)out)[y * 12 + i] = row[i] * scale[i % 3];
  }
  return 0;
}
int32_t toy_dense(int32_t begin, int32_t end, const void *weights, void *scratch, void *in, void *out) {
  (void)scratch;
  for (int32_t k = begin; k < end; k++) {
    float sum = 0;
#ifdef FAULT
    FAULT;
#endif
    for (int i = 0; i < 60; i++) sum += ((const float *)in)[i] * ((const float *)weights)[k * 60 + i];
    ((float *)out)[k] = sum;
  }
  return 0;
}
int32_t toy_mix(int32_t begin, int32_t end, const void *weights, void *scratch, void *a, void *b, void *out) {
  (void)weights;
  (void)scratch;
  for (int32_t k = begin; k < end; k++) ((float *)out)[k] = expf(((const float *)a)[k] * 0.1f) + ((const float *)b)[k];
  return 0;
}
int32_t toy_fail(int32_t begin, int32_t end, const void *weights, void *scratch, void *in, void *out) {
  (void)begin, (void)end, (void)weights, (void)scratch, (void)in, (void)out;
  return -7;
}
"""


@functools.cache
def kernel_object(flags: tuple[str, ...] = (), compiler: str = "gcc") -> bytes:
    """The kernels as an object, compiled once a process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "kernels.c").write_text(KERNELS)
        command = [
            *compiler.split(),
            "-std=c99",
            "-O1",
            "-fPIC",
            "-ffp-contract=off",
            *flags,
            "-c",
            "kernels.c",
            "-o",
            "kernels.o",
        ]
        subprocess.run(command, cwd=path, check=True)
        return (path / "kernels.o").read_bytes()


def toy_weights(seed: int = 0) -> np.ndarray:
    """16 floats of scale (3 used), then the dense matrix, CLASSES x PIXELS."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(16 + CLASSES * PIXELS).astype(np.float32)


def toy_outputs(weights: np.ndarray, image: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The toy network in float64: hidden scaled image (an output too), and the mixed scores."""
    wide = weights.astype(np.float64)
    hidden = image.astype(np.float64) * wide[:3]
    dense = hidden.reshape(len(image), -1) @ wide[16:].reshape(CLASSES, PIXELS).T
    return hidden, np.exp(dense * 0.1) + bias.astype(np.float64)


def toy_spec(
    name: str = "toy",
    batch: int = 2,
    seed: int = 0,
    flags: tuple[str, ...] = (),
    features: tuple[str, ...] = (),
    goldens: tuple[Golden, ...] | None = None,
    fail: bool = False,
    triple: str = TRIPLE,
    compiler: str = "",
) -> LibrarySpec:
    """Two inputs (image, bias), two outputs (hidden, scores), three kernels, a batch."""
    weights = toy_weights(seed)
    hidden = Slot("output", 0, 0, 4 * PIXELS)
    dense = Slot("workspace", 0, 0, 64)
    kernels = (
        KernelEntry(
            "scale",
            "toy_fail" if fail else "toy_scale",
            one_phase(HEIGHT),
            batch,
            0,
            (Slot("input", 0, 0, 4 * PIXELS), hidden),
        ),
        KernelEntry("dense", "toy_dense", TWO_PHASES, batch, 64, (hidden, dense)),
        KernelEntry(
            "mix",
            "toy_mix",
            one_phase(CLASSES),
            batch,
            0,
            (dense, Slot("input", 1, 0, 4 * CLASSES), Slot("output", 1, 0, 4 * CLASSES)),
        ),
    )
    image = selftest_input(0, batch * PIXELS).reshape(batch, HEIGHT, WIDTH, CHANNELS)
    bias = selftest_input(1, batch * CLASSES).reshape(batch, CLASSES)
    return LibrarySpec(
        name=name,
        model_hash="sha256:" + "0" * 64,
        inputs=(
            InterfaceTensor("image", image.shape, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "RGB"),
            InterfaceTensor("bias", bias.shape),
        ),
        outputs=(
            InterfaceTensor("hidden", image.shape),
            InterfaceTensor("scores", bias.shape, kind="logits"),
        ),
        kernels=kernels,
        kernel_object=kernel_object(flags, compiler or ("gcc" if triple == TRIPLE else f"{triple}-gcc")),
        weights=weights,
        tensor_bytes=64 * batch,
        scratch_bytes=64,
        triple=triple,
        cpu_features=features,
        goldens=make_goldens(toy_outputs(weights, image, bias)) if goldens is None else goldens,
        manifest={"versions": {"mncc": "0.0"}, "kernels": [{"rows": [1]}, {"rows": [2]}, {"rows": [2]}]},
    )


def classifier_spec(name: str = "classifier", flags: tuple[str, ...] = ()) -> LibrarySpec:
    """One input (image), one output (scores): the shape that examples/cpp expects."""
    toy = toy_spec(name, 1, flags=flags)
    hidden = Slot("workspace", 0, 0, HIDDEN_BYTES)
    kernels = (
        KernelEntry("scale", "toy_scale", one_phase(HEIGHT), 1, 0, (Slot("input", 0, 0, 4 * PIXELS), hidden)),
        KernelEntry("dense", "toy_dense", TWO_PHASES, 1, 64, (hidden, Slot("output", 0, 0, 4 * CLASSES))),
    )
    image = selftest_input(0, PIXELS).astype(np.float64).reshape(1, HEIGHT, WIDTH, CHANNELS)
    dense = (image * toy.weights[:3]).reshape(1, -1) @ toy.weights[16:].astype(np.float64).reshape(CLASSES, PIXELS).T
    return LibrarySpec(
        name=name,
        model_hash=toy.model_hash,
        inputs=toy.inputs[:1],
        outputs=toy.outputs[1:],
        kernels=kernels,
        kernel_object=toy.kernel_object,
        weights=toy.weights,
        tensor_bytes=HIDDEN_BYTES,
        scratch_bytes=64,
        triple=toy.triple,
        cpu_features=toy.cpu_features,
        goldens=make_goldens([dense]),
    )
