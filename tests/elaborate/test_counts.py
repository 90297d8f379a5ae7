"""Parameters and multiply-adds of the published networks, at every width and resolution that was published.

Sources: TF-slim's `mobilenet_v1.md` and `mobilenet/README.md`, with exact counts computed from the architectures.
V1 is counted with 1001 classes (convolutions, gamma, beta, and the classifier with its bias), V2 with 1000 and, as
torch does, with gamma and beta. Rows of the published V1 table that are wrong have no printed value here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mncc.elaborate import load
from mncc.network.graph import check_network

EXAMPLES = Path(__file__).parents[2] / "examples"

# width, resolution, printed MACs in millions, exact MACs
V1_MACS = [
    (1.0, 224, 569, 568_741_376),
    (1.0, 192, 418, 418_122_752),
    (1.0, 160, 291, 290_676_224),
    (1.0, 128, 186, 186_401_792),
    (0.75, 224, None, 325_401_216),
    (0.75, 192, None, 239_274_240),
    (0.75, 160, None, 166_397_568),
    (0.75, 128, None, 106_771_200),
    (0.5, 224, 150, 149_497_600),
    (0.5, 192, 110, 109_970_944),
    (0.5, 160, 77, 76_525_312),
    (0.5, 128, 49, 49_160_704),
    (0.25, 224, 41, 41_030_528),
    (0.25, 192, None, 30_212_864),
    (0.25, 160, 21, 21_059_456),
    (0.25, 128, 14, 13_570_304),
]
# width, printed millions, exact
V1_PARAMS = [(1.0, 4.24, 4_233_001), (0.75, 2.59, 2_586_329), (0.5, 1.34, 1_332_105), (0.25, 0.47, 470_329)]

# width, resolution, slim's MACs in millions, exact MACs
V2_MACS = [
    (1.4, 224, 582, 582_195_824),
    (1.3, 224, 509, 509_374_560),
    (1.0, 224, 300, 300_774_272),
    (1.0, 192, 221, 221_316_608),
    (1.0, 160, 154, 154_083_200),
    (1.0, 128, 99, 99_074_048),
    (1.0, 96, 56, 56_289_152),
    (0.75, 224, 209, 209_069_792),
    (0.75, 192, 153, 153_941_888),
    (0.75, 160, 107, 107_295_200),
    (0.75, 128, 69, 69_129_728),
    (0.75, 96, 39, 39_445_472),
    (0.5, 224, 97, 97_131_840),
    (0.5, 192, 71, 71_701_760),
    (0.5, 160, 50, 50_184_000),
    (0.5, 128, 32, 32_578_560),
    (0.5, 96, 18, 18_885_440),
    (0.35, 224, 59, 59_285_808),
    (0.35, 192, 43, 43_896_512),
    (0.35, 160, 30, 30_874_800),
    (0.35, 128, 20, 20_220_672),
    (0.35, 96, 11, 11_934_128),
]
# width, torch-style params, slim-style params (without batch norm, 1001 classes)
V2_PARAMS = [
    (1.4, 6_108_776, 6_062_633),
    (1.3, 5_386_792, 5_344_201),
    (1.0, 3_504_872, 3_472_041),
    (0.75, 2_636_424, 2_611_065),
    (0.5, 1_968_680, 1_951_417),
    (0.35, 1_677_128, 1_664_329),
]


@pytest.mark.parametrize(("width", "resolution", "printed", "macs"), V1_MACS)
def test_macs_of_mobilenet_v1(width: float, resolution: int, printed: int | None, macs: int) -> None:
    settings = {"width": width, "resolution": resolution, "classes": 1001}
    network = load(EXAMPLES / "mobilenet_v1.mn", settings)
    check_network(network)
    assert network.macs == macs
    if printed is not None:
        assert abs(network.macs / 1e6 - printed) <= 1


@pytest.mark.parametrize(("width", "printed", "params"), V1_PARAMS)
def test_params_of_mobilenet_v1(width: float, printed: float, params: int) -> None:
    network = load(EXAMPLES / "mobilenet_v1.mn", {"width": width, "classes": 1001})
    assert network.params == params
    assert abs(network.params / 1e6 - printed) < 0.011


def test_params_of_mobilenet_v1_for_1000_classes() -> None:
    assert load(EXAMPLES / "mobilenet_v1.mn").params == 4_231_976


@pytest.mark.parametrize(("width", "resolution", "printed", "macs"), V2_MACS)
def test_macs_of_mobilenet_v2(width: float, resolution: int, printed: int, macs: int) -> None:
    network = load(EXAMPLES / "mobilenet_v2.mn", {"width": width, "resolution": resolution})
    check_network(network)
    assert network.macs == macs
    assert network.macs // 10**6 == printed


@pytest.mark.parametrize(("width", "torch_style", "slim_style"), V2_PARAMS)
def test_params_of_mobilenet_v2(width: float, torch_style: int, slim_style: int) -> None:
    network = load(EXAMPLES / "mobilenet_v2.mn", {"width": width})
    assert network.params == torch_style
    more = load(EXAMPLES / "mobilenet_v2.mn", {"width": width, "classes": 1001})
    norms = sum(n.op.params(*more.input_types(n)) for n in more.nodes if n.op.name == "norm")
    assert more.params - norms == slim_style


def test_batch_multiplies_the_macs() -> None:
    one, four = (load(EXAMPLES / "mobilenet_v2.mn", {"batch": batch}) for batch in (1, 4))
    assert four.macs == 4 * one.macs
    assert four.params == one.params
    assert four.inputs[0].type.shape == (4, 224, 224, 3)
    assert four.types[four.outputs[0].value].shape == (4, 1000)
