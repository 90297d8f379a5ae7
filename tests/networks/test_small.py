"""Random small networks against their twins."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from mncc.elaborate import show_network
from mncc.kernels import winograd_cost
from mncc.network.graph import Network, Node
from mncc.network.ops import Softmax, Upsample
from mncc.reference import Twin
from mncc.weights.random_weights import random_weights
from tests.networks.compare import expect_right, inputs_of
from tests.networks.small import networks
from tests.networks.specials import expect_specials, with_specials

QUICK = settings(
    max_examples=10,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=60)


def expect_network(network: Network, seed: int, tmp_path_factory: pytest.TempPathFactory, target: str) -> None:
    note(show_network(network))
    folder = tmp_path_factory.mktemp("small") / "out"
    weights = random_weights(network, seed)
    library = expect_right(network, weights, folder, target, ill_conditioned=True)
    # A Winograd convolution spreads what it cannot add over its tile.
    spread = any(kernel["family"] == "winograd" for kernel in library.manifest["kernels"])
    if not (spread or any(is_simplified(node) for node in network.nodes)):
        inputs = [with_specials(array, seed, share=0) for array in inputs_of(network)]
        twin = Twin(network, weights).run(inputs, dtype="float32", keep={o.value for o in network.outputs})
        for output, got in zip(network.outputs, library.run(*inputs), strict=True):
            expect_specials(got, twin[output.value], output.name)


def is_simplified(node: Node) -> bool:
    """Whether x - x or 0 * x may stand in it, which TVM takes for 0 whatever x is."""
    bilinear = isinstance(node.op, Upsample) and node.op.mode == "bilinear"
    return bilinear or (isinstance(node.op, Softmax) and node.type.shape[-1] == 1)


@QUICK
@given(networks(), st.integers(0, 99))
def test_small_network(tmp_path_factory: pytest.TempPathFactory, network: Network, seed: int) -> None:
    expect_network(network, seed, tmp_path_factory, "native")


@QUICK
@given(networks(), st.integers(0, 99))
def test_with_winograd_wherever_it_can_be(
    tmp_path_factory: pytest.TempPathFactory, network: Network, seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd_cost, "GAIN", 0.0)
        expect_network(network, seed, tmp_path_factory, "native")


@pytest.mark.full
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
@LONG
@given(networks(), st.integers(0, 99))
def test_many(tmp_path_factory: pytest.TempPathFactory, target: str, network: Network, seed: int) -> None:
    expect_network(network, seed, tmp_path_factory, target)
