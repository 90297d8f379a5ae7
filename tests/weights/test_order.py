"""Modules in the order in which their networks run them, whatever the order in the file, and how they are aligned."""

from __future__ import annotations

import numpy as np
import pytest

from mncc.weights.match import align
from mncc.weights.naming import recognise
from mncc.weights.stored import Archive, Stored


def archive(*modules: str, norms: tuple[str, ...] = ("bn", "norm")) -> Archive:
    """Tensors of these modules in alphabetical order; a module is a norm when its last name says so."""
    names = {}
    for module in modules:
        last = module.rpartition(".")[2]
        if last.startswith(norms):
            for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                names[f"{module}.{part}"] = (8,)
        else:
            names[f"{module}.weight"] = (8, 8, 1, 1)
    return Archive({key: Stored(key, names[key], "float32", lambda: np.zeros(0)) for key in sorted(names)})


ORDERS = {
    "timm inverted residual": (
        "timm",
        ["conv_stem", "bn1", "blocks.0.0.conv_dw", "blocks.0.0.bn1", "blocks.0.0.conv_pw", "blocks.0.0.bn2"]
        + [
            f"blocks.{i}.{j}.{part}"
            for i, j in ((1, 0), (1, 1), (2, 0), (2, 10))
            for part in ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
        ]
        + ["conv_head", "bn2", "classifier"],
    ),
    "timm squeeze and excite": (
        "timm",
        ["conv_stem", "bn1"]
        + [f"blocks.0.0.{p}" for p in ("conv_dw", "bn1", "se.conv_reduce", "se.conv_expand", "conv_pw", "bn2")]
        + [
            f"blocks.1.0.{p}"
            for p in ("conv_pw", "bn1", "conv_dw", "bn2", "se.conv_reduce", "se.conv_expand", "conv_pwl", "bn3")
        ]
        + [f"blocks.2.0.{p}" for p in ("conv_exp", "bn1", "se.conv_reduce", "se.conv_expand", "conv_pwl", "bn2")]
        + ["blocks.3.0.conv", "blocks.3.0.bn1", "conv_head", "classifier"],
    ),
    "timm mixed kernels": (
        "timm",
        [
            f"blocks.1.0.{p}"
            for p in (
                "conv_pw.0",
                "conv_pw.1",
                "bn1",
                "conv_dw.0",
                "conv_dw.1",
                "bn2",
                "conv_pwl.0",
                "conv_pwl.1",
                "bn3",
            )
        ],
    ),
    "timm ghost": (
        "timm",
        ["conv_stem", "bn1"]
        + [
            f"blocks.0.0.{ghost}.{part}"
            for ghost in ("ghost1", "ghost2")
            for part in ("primary_conv.0", "primary_conv.1", "cheap_operation.0", "cheap_operation.1")
        ],
    ),
    "torchvision squeezenet": (
        "torchvision",
        ["features.0"]
        + [f"features.{i}.{p}" for i in (3, 4, 10) for p in ("squeeze", "expand1x1", "expand3x3")]
        + ["classifier.1"],
    ),
    "torchvision resnet": (
        "torchvision",
        ["conv1", "bn1"]
        + [f"layer{i}.0.{p}" for i in (1, 2) for p in ("conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1")]
        + ["fc"],
    ),
    "torchvision shufflenet": (
        "torchvision",
        ["conv1.0", "conv1.1"]
        + [f"stage{i}.0.{p}" for i in (2, 3) for p in ("branch1.0", "branch1.1", "branch2.0", "branch2.7")]
        + ["conv5.0", "conv5.1", "fc"],
    ),
    "torchvision densenet": (
        "torchvision",
        ["features.conv0", "features.norm0"]
        + [f"features.denseblock1.denselayer{i}.{p}" for i in (1, 2, 10) for p in ("norm1", "conv1", "norm2", "conv2")]
        + ["features.transition1.norm", "features.transition1.conv"]
        + ["features.denseblock2.denselayer1.norm1", "features.norm5", "classifier"],
    ),
    "torchvision inception": (
        "torchvision",
        [
            f"Mixed_{module}.{branch}.{part}"
            for module, branches in {
                "5b": "1x1 5x5_1 5x5_2 3x3dbl_1 3x3dbl_2 3x3dbl_3 _pool",
                "6a": "3x3 3x3dbl_1 3x3dbl_2 3x3dbl_3",
                "6b": "1x1 7x7_1 7x7_2 7x7_3 7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5 _pool",
                "7a": "3x3_1 3x3_2 7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4",
                "7b": "1x1 3x3_1 3x3_2a 3x3_2b 3x3dbl_1 3x3dbl_2 3x3dbl_3a 3x3dbl_3b _pool",
            }.items()
            for branch in (f"branch{name}" for name in branches.split())
            for part in ("conv", "bn")
        ],
    ),
    "conv and bn without numbers": ("torchvision", ["stem.0.conv", "stem.0.bn", "body.0.conv", "body.0.bn", "fc"]),
}


@pytest.mark.parametrize("case", ORDERS)
def test_orders(case: str) -> None:
    producer, names = ORDERS[case]
    file = archive(*names)
    naming = recognise(file)
    assert naming is not None
    assert naming.name == producer
    assert [module.name for module in naming.orders(file)[0]] == names


A, B, C = ("layer", 1, 1, 8, 16), ("norm", 16), ("layer", 3, 3, 1, 16)
D = ("layer", 1, 1, 16, 24)


@pytest.mark.parametrize(
    ("left", "right", "pairs"),
    [
        ([A, B, C, B, D], [A, B, C, B, D], [0, 1, 2, 3, 4]),
        ([A, B, C, B, D], [A, B, C, D], [0, 1, 2, None, 3]),
        ([A, B, C, D], [A, B, C, B, D], [0, 1, 2, 4]),
        ([A, B, C, B, D], [], [None] * 5),
        ([], [A], []),
        ([A, B, C], [A, B, ("layer", 5, 5, 1, 16)], [0, 1, 2]),
        ([A, B], [("layer", 1, 1, 16, 32), ("norm", 32)], [0, 1]),
        ([A, B], [B, A], [1, None]),
    ],
)
def test_align(left: list, right: list, pairs: list) -> None:
    assert align(left, right) == pairs


def test_align_is_quick_for_hostile_lengths() -> None:
    assert len(align([A] * 300, [B] * 200_000)) == 300
