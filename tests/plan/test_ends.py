"""Outputs that are inputs, outputs twice, reshapes at the ends: every output gets memory of its own."""

from __future__ import annotations

from mncc.kernels.chain import Chain
from mncc.kernels.target import load_target
from mncc.language.source import Source, Span
from mncc.network.graph import Input, Network, Node, Origin, Output
from mncc.network.ops import (
    Activation,
    Add,
    Concat,
    Conv2d,
    Depthwise,
    GlobalPool,
    Norm,
    Op,
    Reshape,
    Slice,
)
from mncc.network.types import TensorType
from mncc.plan import Plan, make_plan

SPAN = Span(Source("net.mn", "row"), 0, 3)
IMAGE = Input("image", TensorType((2, 5, 6, 8)), span=SPAN)


def network(nodes: list[tuple[str, Op, tuple[str, ...]]], outputs: dict[str, str]) -> Network:
    """A network from (name, operator, inputs) and output name -> value."""
    types, made = {"image": IMAGE.type}, []
    for name, op, inputs in nodes:
        types[name] = op.infer(*(types[i] for i in inputs))
        made.append(Node(name, op, inputs, types[name], Origin(SPAN, "row", 0)))
    return Network("net", (IMAGE,), tuple(made), tuple(Output(n, v) for n, v in outputs.items()))


def plan(nodes: list[tuple[str, Op, tuple[str, ...]]], outputs: dict[str, str]) -> Plan:
    """Its plan; make_plan checks the invariants."""
    return make_plan(network(nodes, outputs), load_target("x86-64-v4"))


def test_an_output_that_is_the_input_is_copied() -> None:
    result = plan([], {"same": "image"})
    assert [k.family for k in result.kernels] == ["plain"]
    assert result.tensor(result.outputs[0].value).base == "output"


def test_one_value_as_two_outputs() -> None:
    result = plan([("a", Activation("relu"), ("image",))], {"one": "a", "two": "a"})
    places = {result.tensor(o.value).index for o in result.outputs}
    assert places == {0, 1}


def test_a_reshape_shares_memory() -> None:
    result = plan([("c", Conv2d(4), ("image",)), ("flat", Reshape((120,)), ("c",))], {"scores": "flat"})
    assert len(result.kernels) == 1
    assert result.root("flat") == "c"
    assert result.tensor("flat").base == "output"


def test_a_reshaped_input_as_output_is_copied() -> None:
    result = plan([("flat", Reshape((240,)), ("image",)), ("back", Reshape((5, 6, 8)), ("flat",))], {"o": "back"})
    assert len(result.kernels) == 1
    assert result.tensor("back").base == "output"


def test_of_two_branches_the_later_adds() -> None:
    nodes = [
        ("a", Conv2d(8), ("image",)),
        ("an", Norm(), ("a",)),
        ("b", Conv2d(8), ("image",)),
        ("bn", Norm(), ("b",)),
        ("sum", Add(), ("an", "bn")),
        ("act", Activation("relu"), ("sum",)),
    ]
    result = plan(nodes, {"o": "act"})
    assert [[n.name for n in k.nodes] for k in result.kernels] == [["a", "an"], ["b", "bn", "sum", "act"]]
    assert result.kernels[1].inputs == ("image", "an")


def test_an_exported_value_is_not_fused_away() -> None:
    nodes = [("a", Conv2d(8), ("image",)), ("r", Activation("relu"), ("a",)), ("b", Conv2d(4), ("r",))]
    result = plan(nodes, {"tap": "a", "o": "b"})
    assert [[n.name for n in k.nodes] for k in result.kernels] == [["a"], ["r"], ["b"]]


def vectors(nodes: list[tuple[str, Op, tuple[str, ...]]], output: str) -> Plan:
    """The plan for three pictures of one pixel and 32 channels."""
    pixel = Input("pixel", TensorType((3, 1, 1, 32)), span=SPAN)
    types, made = {"pixel": pixel.type}, []
    for name, op, inputs in nodes:
        types[name] = op.infer(*(types[i] for i in inputs))
        made.append(Node(name, op, inputs, types[name], Origin(SPAN, "row", 0)))
    return make_plan(Network("net", (pixel,), tuple(made), (Output("o", output),)), load_target("x86-64-v4"))


def test_a_batch_of_pixels_is_one_row() -> None:
    assert [k.images for k in vectors([("c", Conv2d(16), ("pixel",))], "c").kernels] == [1]


def test_windows_do_not_reach_into_the_next_image() -> None:
    window = {"kernel": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 1))}
    for op in (Conv2d(16, **window), Depthwise(**window), Depthwise(**window, multiplier=2)):
        assert [k.images for k in vectors([("c", op, ("pixel",))], "c").kernels] == [3]
    # Where the next kernel wants borders around every image, they cannot be a row without gaps.
    nodes = [("a", Conv2d(32), ("pixel",)), ("b", Conv2d(16, **window), ("a",))]
    planned = vectors(nodes, "b")
    assert [k.images for k in planned.kernels] == [1, 3]
    assert not any(map(any, planned.tensors["a"].pads))


def test_a_pool_is_over_one_image() -> None:
    nodes = [("a", Conv2d(16), ("pixel",)), ("p", GlobalPool(), ("a",))]
    assert all(k.images == 3 or not k.spec.pool for k in vectors(nodes, "p").kernels if isinstance(k.spec, Chain))


def test_a_broadcast_add_is_no_residual() -> None:
    nodes = [
        ("c", Conv2d(8), ("image",)),
        ("pooled", GlobalPool(), ("image",)),
        ("sum", Add(), ("c", "pooled")),
    ]
    result = plan(nodes, {"o": "sum"})
    assert not any(k.spec.residual for k in result.kernels if isinstance(k.spec, Chain))
    assert [k.family for k in result.kernels] == ["chain", "plain", "plain"]


def test_wide_concatenations_are_split() -> None:
    parts = [(f"p{i}", Slice(-1, i % 8, i % 8 + 1), ("image",)) for i in range(40)]
    nodes = [*parts, ("all", Concat(), tuple(name for name, _, _ in parts))]
    result = plan(nodes, {"o": "all"})
    assert max(len(k.inputs) + 1 for k in result.kernels) <= 16
    assert result.tensor("all").type.shape[-1] == 40


def test_far_dilations_do_not_swell_a_tensor() -> None:
    nodes = [
        ("a", Conv2d(8), ("image",)),
        ("near", Conv2d(8, (3, 3), padding=((1, 1), (1, 1))), ("a",)),
        ("far", Conv2d(8, (3, 3), padding=((18, 18), (18, 18)), dilation=(18, 18)), ("a",)),
        ("sum", Add(), ("near", "far")),
    ]
    result = plan(nodes, {"o": "sum"})
    assert not any(map(any, result.tensor("a").pads))


def test_a_batch_of_classifier_inputs_is_one_row() -> None:
    nodes = [("pooled", GlobalPool(), ("image",)), ("wide", Conv2d(32), ("pooled",)), ("c", Conv2d(10), ("wide",))]
    result = plan(nodes, {"o": "c"})
    assert [(k.images, k.spec.width) for k in result.kernels if isinstance(k.spec, Chain)][-1] == (1, 2)


def test_a_depthwise_of_few_pixels_shares_out_rows() -> None:
    result = plan([("d", Depthwise((1, 1)), ("image",))], {"o": "d"})
    assert result.kernels[0].items == 5
