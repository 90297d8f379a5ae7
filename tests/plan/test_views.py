"""Concatenations written in place, slices read in place, shuffles folded: which kernels and tensors are left."""

from __future__ import annotations

import math

import pytest

from mncc.elaborate import elaborate
from mncc.kernels.chain import Chain
from mncc.kernels.plain import Plain
from mncc.kernels.target import load_target
from mncc.language import Source, parse
from mncc.network.ops import ChannelShuffle, Concat, Slice
from mncc.plan import Plan, make_plan

HEAD = "network n\ninput image: 14x14x16\ndefaults padding symmetric activation relu\n"


def plan_of(*lines: str) -> Plan:
    network = elaborate(parse(Source("n.mn", HEAD + "\n".join(lines) + "\n")))
    return make_plan(network, load_target("x86-64-v4"))


def operators(plan: Plan) -> set[type]:
    """Of all plain kernels."""
    return {type(step.op) for k in plan.kernels if isinstance(k.spec, Plain) for step in k.spec.ops}


FIRE = """
block fire(c):
  s = image -> conv 1x1 8 bias -> act
  return concat(s -> conv 1x1 c bias -> act, s -> conv 3x3 c bias -> act)
"""


def test_a_concatenation_is_written_in_place() -> None:
    plan = plan_of(FIRE, "output y = image -> fire(24) -> conv 1x1 4")
    assert len(plan.kernels) == 4 and not operators(plan)
    narrow, wide = plan.kernels[1:3]
    assert plan.storage(narrow.output) == (plan.storage(wide.output)[0], 0)
    assert plan.storage(wide.output)[1] == 24
    assert isinstance(wide.spec, Chain) and wide.spec.output_spare == 24


def test_a_concatenation_that_is_an_output_is_written_into_the_callers_memory() -> None:
    plan = plan_of(FIRE, "output y = image -> fire(24)")
    assert {plan.tensor(k.output).base for k in plan.kernels[1:]} == {"output"}


def test_an_activation_behind_a_concatenation_rides_with_its_parts() -> None:
    plan = plan_of("output y = concat(image -> avgpool 3x3 pad 1, image -> conv 3x3 8) -> relu")
    assert len(plan.kernels) == 2 and Concat not in operators(plan)


def test_an_activation_stays_where_parts_have_other_readers() -> None:
    plan = plan_of("let a = image -> conv 1x1 8", "output y = concat(a, image) -> relu", "output z = a -> conv 1x1 3")
    assert len(plan.kernels) == 4


@pytest.mark.parametrize(
    ("lines", "copies"),
    [
        (("output y = concat(image, image -> conv 1x1 8)",), 1),
        (("let a = image -> conv 1x1 8", "output y = concat(a, a)"), 1),
        (("let a = image -> conv 1x1 8", "output a1 = a", "output y = concat(a, image -> conv 1x1 4)"), 1),
        (("let a = image -> conv 1x1 8", "let b = concat(a, a -> conv 3x3 8)", "output y = concat(a, b)"), 1),
    ],
)
def test_what_cannot_be_a_part_is_copied_once(lines: tuple[str, ...], copies: int) -> None:
    plan = plan_of(*lines)
    found = [k for k in plan.kernels if isinstance(k.spec, Plain)]
    assert len(found) == copies and operators(plan) == {Slice}


def test_concatenations_inside_of_each_other() -> None:
    plan = plan_of(
        "let a = concat(image -> conv 1x1 8, image -> conv 1x1 4)",
        "output y = concat(image -> conv 1x1 2, a)",
        "output z = a -> globalpool",
    )
    assert sorted(plan.storage(k.output)[1] for k in plan.kernels[:3]) == [0, 2, 10]


def test_slices_are_read_where_they_lie() -> None:
    plan = plan_of(
        "let halves = split(image -> conv 1x1 32, 2)",
        "output y = halves[0] -> conv 3x3 8",
        "output z = (halves[1] -> maxpool 2x2 / 2)",
    )
    assert len(plan.kernels) == 3 and Slice not in operators(plan)
    assert [plan.storage(k.inputs[0])[1] for k in plan.kernels] == [0, 0, 16]


def test_what_a_reshape_shares_is_no_part() -> None:
    """It would have gaps, which the reshape does not know."""
    plan = plan_of(
        "let a = image -> conv 1x1 8",
        "let r = a -> reshape (7, 7, 32)",
        "output y = concat(r, image -> avgpool 2x2 / 2)",
        "output z = concat(a, image)",
    )
    assert plan.root("r.reshape") == "a.conv" and plan.spare("a.conv") == 0


def test_a_slice_that_is_a_part_is_the_only_copy() -> None:
    plan = plan_of("let a = split(image, 2)", "output y = concat(a[0], a[1] -> conv 1x1 8)")
    assert [k.spec.family for k in plan.kernels] == ["plain", "chain"] and operators(plan) == {Slice}


def test_single_pixels_are_concatenated_by_a_kernel() -> None:
    """Batches of them lie without gaps, as vectors do."""
    plan = plan_of("let a = image -> globalpool", "output y = concat(a, a -> conv 1x1 8)")
    assert Concat in operators(plan)


UNIT = """
block unit(g):
  e = x -> conv 1x1 24 groups g -> norm -> act -> shuffle g
  return x + (e -> depthwise 3x3 -> norm -> conv 1x1 x.c groups g -> norm) -> act
"""


def test_a_shuffle_is_part_of_the_kernel_behind_it() -> None:
    plan = plan_of(UNIT, "output y = image -> unit(4)")
    assert len(plan.kernels) == 1 and not operators(plan)
    spec = plan.kernels[0].spec
    assert isinstance(spec, Chain) and [s.shuffle for s in spec.stages] == [1, 4, 1]
    assert [spec.order(i) for i in range(3)] == [1, 4, 4]


def test_a_shuffle_in_front_of_an_inverted_residual() -> None:
    plan = plan_of("output y = image -> shuffle 4 -> conv 1x1 48 -> depthwise 3x3 -> conv 1x1 24")
    assert len(plan.kernels) == 1
    assert isinstance(spec := plan.kernels[0].spec, Chain) and [s.shuffle for s in spec.stages] == [4, 1, 1]


def test_a_shuffle_in_front_of_a_pooled_product() -> None:
    plan = plan_of("output y = image -> shuffle 4 -> conv 1x1 48 -> globalpool")
    assert len(plan.kernels) == 1 and isinstance(spec := plan.kernels[0].spec, Chain) and spec.pool


def test_a_shuffle_that_two_kernels_read_is_made() -> None:
    plan = plan_of("let s = image -> shuffle 4", "output y = s -> conv 1x1 3", "output z = s -> depthwise 3x3")
    assert ChannelShuffle in operators(plan)


def test_products_read_wide_tensors_from_all_sets_of_the_cache() -> None:
    plan = plan_of("output y = image -> conv 3x3 512 -> conv 1x1 1024 -> conv 1x1 8")
    tensors = [plan.tensor(k.output) for k in plan.kernels[:2]]
    assert [t.spare for t in tensors] == [16, 16]
    assert tensors[0].bytes == 4 * math.prod((14, 14, 528))
