"""The text that GPUs run, run on the CPU: every kernel of whole networks against the twin."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import mncc.backend.lower_cuda as lower_cuda
import mncc.kernels.gpu_warp_space as gpu_warp_space
import mncc.plan.gpu as plan_gpu
from mncc.elaborate import load, show_network
from mncc.kernels.gpu_direct import GpuDirect
from mncc.kernels.gpu_fused import GpuFused
from mncc.kernels.gpu_plain import GpuPlain
from mncc.kernels.gpu_product import GpuProduct, ProductTiles
from mncc.kernels.gpu_target import GpuTarget
from mncc.kernels.gpu_warp_fused import WarpFused, WarpFusedShape
from mncc.kernels.gpu_warp_product import WarpProduct
from mncc.kernels.precision import FULL, Precision
from mncc.network.graph import Network
from mncc.network.ops import ChannelShuffle
from mncc.plan import make_plan
from mncc.reference import Twin
from mncc.weights.random_weights import random_weights
from tests.networks.compare import inputs_of
from tests.networks.gpu import HALF, expect_right_on_gpu, gpu_of, small_board
from tests.networks.small import networks
from tests.networks.specials import CLOSE, expect_specials, with_specials
from tests.networks.test_odd import ODD, SIZES
from tests.networks.test_small import LONG, QUICK, is_simplified

NETWORK_ERROR = 4e-2
"""Of the largest element, behind a few layers of float16."""
HEAD = "network n\ndefaults padding symmetric\n"


def check(
    file: str,
    values: dict[str, str],
    target: str | GpuTarget,
    folder: Path,
    precision: Precision = FULL,
    orders: tuple[int, ...] = (0, 1, 2),
) -> None:
    network = load(file, values)
    expect_right_on_gpu(network, random_weights(network, 3), folder, target, orders, precision=precision)


@pytest.mark.parametrize(
    "name, values, target",
    [
        ("mobilenet_v1", {"width": "0.25", "resolution": "64"}, "cuda-sm80"),
        ("mobilenet_v2", {"width": "0.35", "resolution": "96"}, "cuda-sm80"),
        ("mobilenet_v2", {"width": "0.35", "resolution": "64"}, small_board()),
    ],
    ids=["v1", "v2", "v2_on_a_small_board"],
)
def test_small_mobilenets(name: str, values: dict[str, str], target: str | GpuTarget, tmp_path: Path) -> None:
    check(f"examples/{name}.mn", values, target, tmp_path)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_small_mobilenets_in_float16(name: str, tmp_path: Path) -> None:
    values = {"width": "0.35" if name == "mobilenet_v2" else "0.25", "resolution": "64"}
    check(f"examples/{name}.mn", values, "cuda-sm87", tmp_path, HALF, (0, 2))


def test_every_operator_in_float16(tmp_path: Path) -> None:
    values = {"batch": "2", "width": "0.5", "padding": "same"}
    check("tests/networks/primitives.mn", values, "cuda-sm80", tmp_path, HALF, (2,))


ONE_PIXEL = """
input image: 1x1x13
let a = image -> conv 1x1 37 -> norm -> relu6 -> depthwise 3x3 -> norm -> relu6 -> conv 1x1 13 -> norm
output y = a + image
"""
TWO_OF_FOUR = """
input image: 5x7x5
output y = image -> conv 3x3 6 bias -> relu6 -> conv 3x3 2 bias -> conv 1x1 2
"""
NOT_ACTIVATED = """
input image: 8x9x21
output y = image -> conv 1x1 30 -> norm -> relu6 -> depthwise 3x3 -> conv 1x1 19 -> norm
"""


@pytest.mark.parametrize(
    "text", [ONE_PIXEL, TWO_OF_FOUR, NOT_ACTIVATED], ids=["one_pixel", "two_of_four_channels", "not_activated"]
)
def test_small_pictures_in_float16(text: str, tmp_path: Path) -> None:
    """A window that is mostly outside of the picture, one whose vectors are of two lanes, and a depthwise convolution
    without an activation between two products."""
    file = tmp_path / "small.mn"
    file.write_text(HEAD + text, encoding="utf-8")
    check(str(file), {}, "cuda-sm80", tmp_path, HALF, (2,))


ALONE = """
input image: 27x29x40
let a = image -> depthwise 3x3 -> norm -> relu6
let b = a -> depthwise 3x3 / 2 -> norm
output y = b -> depthwise 5x5 / 2 dilation 2 -> norm -> relu
"""


def test_depthwise_convolutions_alone_in_float16(tmp_path: Path) -> None:
    """Windows whose odd rows lie behind the even ones, and whose last runs nothing makes."""
    file = tmp_path / "alone.mn"
    file.write_text(HEAD + ALONE, encoding="utf-8")
    plan = make_plan(load(str(file)), gpu_of("cuda-sm80"), HALF)
    shapes = [WarpFusedShape(each.spec, each.tiles) for each in plan.kernels if isinstance(each.spec, WarpFused)]
    places = [shape.copied for shape in shapes if shape.copied]
    assert {place.apart for place in places} == {1, 2} and any(place.order.spare for place in places)
    check(str(file), {}, "cuda-sm80", tmp_path, HALF, (2,))


FLATTENED = """
input image: 18x2x16
let a = image -> conv 1x1 16 -> norm -> relu
output y = a -> flatten -> dense 19
"""


@pytest.mark.parametrize("precision", [FULL, HALF], ids=["float32", "float16"])
def test_a_dense_layer_reads_each_image_of_a_batch(precision: Precision, tmp_path: Path) -> None:
    """A flattened picture is one pixel, as many numbers from image to image."""
    file = tmp_path / "flattened.mn"
    file.write_text(HEAD + FLATTENED, encoding="utf-8")
    check(str(file), {"batch": "2"}, "cuda-sm80", tmp_path, precision, (2,))


PRODUCTS = """
input image: 7x7x24
let a = image -> conv 1x1 64 -> norm -> relu6 -> conv 3x3 / 2 40 -> norm -> hard_swish
output y = a -> conv 1x1 72 -> norm -> relu -> globalpool avg -> conv 1x1 10 bias
"""


GROUPED = """
input image: 9x7x24
let a = image -> conv 1x1 72 groups 3 -> norm -> relu6
let b = a -> conv 3x3 / 2 60 groups 3 -> norm -> relu
let c = b -> conv 1x1 42 groups 6 bias -> hard_swish
let d = c -> conv 1x1 42 groups 2 -> norm
output y = c + d
output few = image -> conv 3x3 24 groups 12 bias
"""


@pytest.mark.parametrize(
    "target, precision, direct",
    [("cuda-sm80", FULL, 3), (small_board(), FULL, 0), ("cuda-sm80", HALF, 4), (small_board(), HALF, 1)],
    ids=["sm80", "a_small_board", "float16", "float16_on_a_small_board"],
)
def test_groups_are_products_of_their_own(
    target: str | GpuTarget, precision: Precision, direct: int, tmp_path: Path
) -> None:
    """Of groups whose channels are whole accesses of memory and such whose are not, with a residual; on a large GPU an
    element of the smallest is a thread's."""
    file = tmp_path / "grouped.mn"
    file.write_text(HEAD + GROUPED, encoding="utf-8")
    network = load(str(file), {"batch": "2"})
    gpu = expect_right_on_gpu(network, random_weights(network, 3), tmp_path, target, precision=precision)
    kinds = [type(kernel.spec) for kernel in gpu.plan.kernels]
    product = WarpProduct if precision == HALF else GpuProduct
    assert [kinds.count(kind) for kind in (GpuDirect, product)] == [direct, 5 - direct]


SHUFFLED = """
input image: 9x7x24
let a = image -> conv 1x1 30 groups 3 -> norm -> relu -> shuffle 3
let b = a -> depthwise 3x3 / 2 -> norm -> conv 1x1 24 groups 3 -> norm -> relu
let c = b -> shuffle 4 -> depthwise 3x3 -> norm -> conv 1x1 16 -> norm -> relu6
let d = c -> shuffle 2
output y = d + (d -> depthwise 3x3 -> norm)
"""
FAR = """
input image: 121x121x6
output y = image -> shuffle 2 -> depthwise 3x3 dilation 60 -> norm
"""


@pytest.mark.parametrize("precision", [FULL, HALF], ids=["float32", "float16"])
def test_shuffles_are_indices_of_the_depthwise_convolutions_behind_them(precision: Precision, tmp_path: Path) -> None:
    """Alone and with a product behind it; what something else reads as well is shuffled by itself."""
    file = tmp_path / "shuffled.mn"
    file.write_text(HEAD + SHUFFLED, encoding="utf-8")
    network = load(str(file), {"batch": "2"})
    gpu = expect_right_on_gpu(network, random_weights(network, 3), tmp_path, "cuda-sm80", precision=precision)
    specs = [kernel.spec for kernel in gpu.plan.kernels]
    moved = [op.op for spec in specs if isinstance(spec, GpuPlain) for op in spec.ops]
    assert [op.groups for op in moved if isinstance(op, ChannelShuffle)] == [2]
    fused = [spec for spec in specs if isinstance(spec, GpuFused)]
    assert [spec.depthwise.shuffle for spec in fused] == [3, 4, 1] and (fused[1].tail or precision == HALF)


@pytest.mark.parametrize("precision", [FULL, HALF], ids=["float32", "float16"])
def test_a_window_that_no_block_has_room_for_is_shuffled(precision: Precision, tmp_path: Path) -> None:
    file = tmp_path / "far.mn"
    file.write_text(HEAD + FAR, encoding="utf-8")
    network = load(str(file))
    gpu = expect_right_on_gpu(network, random_weights(network, 3), tmp_path, "cuda-sm80", (2,), precision=precision)
    assert [type(kernel.spec) for kernel in gpu.plan.kernels] == [GpuDirect]


@pytest.mark.parametrize("split", [2, 4])
def test_parts_of_the_depth_meet_in_float16(split: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each warp has a part: of a pool, of slices that meet once more, of fewer sums than threads."""
    monkeypatch.setattr(gpu_warp_space, "SPLITS", (split,))
    choices = (gpu_warp_space.choose_product, plan_gpu._chain_cost)
    file = tmp_path / "products.mn"
    file.write_text(HEAD + PRODUCTS, encoding="utf-8")
    for choice in choices:
        choice.cache_clear()
    try:
        network = load(str(file), {})
        gpu = expect_right_on_gpu(network, random_weights(network, 3), tmp_path, "cuda-sm80", (0, 2), precision=HALF)
    finally:
        for choice in choices:
            choice.cache_clear()
    tiles = [kernel.tiles for kernel in gpu.plan.kernels]
    products = [each for each in tiles if isinstance(each, ProductTiles)]
    assert products and all(each.sums.split == split for each in products)


@pytest.mark.parametrize("precision", [FULL, HALF], ids=["float32", "float16"])
def test_shared_memory_of_the_launches_size(
    precision: Precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only large networks need, of small ones: of products, of fused blocks, and where slices meet."""
    monkeypatch.setattr(lower_cuda, "STATIC_SHARED", 0)
    network = load("docs/tiny.mn", {"resolution": "40"})
    gpu = expect_right_on_gpu(network, random_weights(network, 3), tmp_path, "cuda-sm80", (0, 2), precision=precision)
    sized = [launch.shared_bytes for launch in gpu.kernels.launches if launch.shared_bytes]
    assert len(sized) >= 3 and "alignas(64) __shared__" not in gpu.kernels.source
    assert gpu.kernels.source.count("extern __shared__") == len(sized)


@pytest.mark.parametrize("values", [{}, {"batch": "2", "width": "0.5", "padding": "same"}])
def test_every_operator(values: dict[str, str], tmp_path: Path) -> None:
    check("tests/networks/primitives.mn", values, "cuda-sm80", tmp_path)


@pytest.mark.parametrize("size, batch", [("97x129", "1"), ("1x1", "3")])
def test_odd_sizes(size: str, batch: str, tmp_path: Path) -> None:
    check(str(ODD), {**SIZES[size], "batch": batch}, "cuda-sm80", tmp_path)


@pytest.mark.parametrize("size, target", [("1x37", "cuda-sm87"), ("1x1", "cuda-sm80")])
def test_odd_sizes_in_float16(size: str, target: str, tmp_path: Path) -> None:
    check(str(ODD), {**SIZES[size], "batch": "3"}, target, tmp_path, HALF, (2,))


@pytest.mark.full
@pytest.mark.parametrize(
    "file, values",
    [
        (str(ODD), {**SIZES["97x129"], "batch": "3"}),
        ("examples/mobilenet_v2.mn", {"width": "0.35", "resolution": "32"}),
    ],
    ids=["odd", "one_pixel"],
)
def test_other_sizes_in_float16(file: str, values: dict[str, str], tmp_path: Path) -> None:
    check(file, values, "cuda-sm80", tmp_path, HALF)


@settings(QUICK, max_examples=3)
@given(networks(), st.integers(0, 99))
def test_random_networks(tmp_path_factory: pytest.TempPathFactory, network: Network, seed: int) -> None:
    note(show_network(network))
    expect_network(tmp_path_factory.mktemp("gpu"), network, seed)


@settings(QUICK, max_examples=3)
@given(networks(), st.integers(0, 99))
def test_random_networks_in_float16(tmp_path_factory: pytest.TempPathFactory, network: Network, seed: int) -> None:
    note(show_network(network))
    expect_network(tmp_path_factory.mktemp("gpu"), network, seed, HALF)


@pytest.mark.full
@pytest.mark.parametrize("precision", [FULL, HALF], ids=["float32", "float16"])
@LONG
@given(networks(), st.integers(0, 99))
def test_many_random_networks(
    tmp_path_factory: pytest.TempPathFactory, precision: Precision, network: Network, seed: int
) -> None:
    note(show_network(network))
    expect_network(tmp_path_factory.mktemp("gpu"), network, seed, precision)


CONCAT = """
input image: 5x5x8
let a = image -> conv 3x3 8 bias
let both = concat(a, a)
output whole = both
output normed = both -> norm
"""
THREE_CHANNELS = """
input image: 6x7x1
output y = image -> conv 1x1 3 -> norm -> relu6 -> depthwise 3x3 -> norm -> relu6 -> conv 1x1 2
"""


@pytest.mark.parametrize("precision", [FULL, HALF], ids=["float32", "float16"])
@pytest.mark.parametrize("text", [CONCAT, THREE_CHANNELS], ids=["concat", "three_channels"])
def test_specials_come_out_where_torch_has_them(text: str, precision: Precision, tmp_path: Path) -> None:
    """Of a tensor that no kernel writes whole, and behind channels that only fill a chunk."""
    file = tmp_path / "small.mn"
    file.write_text(HEAD + text, encoding="utf-8")
    expect_network(tmp_path, load(file, {}), 9, precision)


def expect_network(folder: Path, network: Network, seed: int, precision: Precision = FULL) -> None:
    """Right, and NaN and infinities come out where torch has them."""
    weights, half = random_weights(network, seed), precision != FULL
    gpu = expect_right_on_gpu(network, weights, folder, "cuda-sm80", (2,), ill_conditioned=True, precision=precision)
    if any(is_simplified(node) for node in network.nodes):
        return
    inputs = [with_specials(array, seed, share=0) for array in inputs_of(network)]
    outputs = {output.value for output in network.outputs} - {i.name for i in network.inputs}
    twin = Twin(network, weights).run(inputs, dtype="float32", keep=outputs)
    gpu.run(inputs)
    for value in outputs:
        got = gpu.value(value).reshape(twin[value].shape)
        expect_specials(got, twin[value], value, NETWORK_ERROR if half else CLOSE)


@pytest.mark.full
@pytest.mark.parametrize("target", ("cuda-sm80", "cuda-sm87"))
@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_published_mobilenets(name: str, target: str, tmp_path: Path) -> None:
    check(f"examples/{name}.mn", {}, target, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("name, target", [("mobilenet_v1", "cuda-sm87"), ("mobilenet_v2", "cuda-sm80")])
def test_published_mobilenets_in_float16(name: str, target: str, tmp_path: Path) -> None:
    check(f"examples/{name}.mn", {}, target, tmp_path, HALF, (2,))


@pytest.mark.full
def test_shufflenet_in_float16(tmp_path: Path) -> None:
    check("examples/shufflenet_v1.mn", {}, "cuda-sm80", tmp_path, HALF, (2,))


@pytest.mark.full
@pytest.mark.parametrize("name", ["shufflenet_v1", "squeezenet", "mobilenet_v3_small", "resnext50", "mnasnet"])
def test_other_networks(name: str, tmp_path: Path) -> None:
    check(f"examples/{name}.mn", {"resolution": "64"}, "cuda-sm80", tmp_path)
