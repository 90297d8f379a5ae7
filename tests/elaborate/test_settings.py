"""Parameters, rounding rules and the prelude."""

from __future__ import annotations

from pathlib import Path

import pytest

from mncc.elaborate import elaborate, load
from mncc.elaborate.channels import ChannelRule, make_divisible
from mncc.elaborate.check_blocks import check_block
from mncc.elaborate.program import prelude
from mncc.language import DiagnosticError, Source, parse
from mncc.language import tree as t
from mncc.language.source import Span
from mncc.network.graph import Network

V2 = Path(__file__).parents[2] / "examples" / "mobilenet_v2.mn"


def rule(**clauses: object) -> ChannelRule:
    return ChannelRule("c", t.Name(Span(Source("", ""), 0, 0), "c"), **clauses)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(32 * 0.35, 16), (16 * 0.35, 8), (24 * 0.35, 8), (96 * 0.35, 32), (1280 * 1.4, 1792), (1280 * 1.3, 1664), (3, 8)],
)
def test_mobilenet_v2_rounds_to_eighths_and_keeps_nine_tenths(value: float, expected: int) -> None:
    assert make_divisible(value, 8, 0.9) == expected


def test_torchvision_and_keras_round_differently() -> None:
    torchvision, keras = rule(divisor=8, keep=0.9), rule(truncate=True, divisor=8, keep=0.9)
    for count, width, first, second in [(32, 0.84, 32, 24), (16, 0.56, 16, 8), (24, 1.12, 32, 24)]:
        assert torchvision.rounded(count * width, last=False) == first
        assert keras.rounded(count * width, last=False) == second


def test_mobilenet_v1_truncates_to_at_least_eight() -> None:
    assert [rule(truncate=True, minimum=8).rounded(value, last=False) for value in (8.9, 7.9, 100.5)] == [8, 8, 100]


def test_the_last_count_has_a_minimum_of_its_own() -> None:
    with_last = rule(divisor=8, keep=0.9, last_minimum=1280)
    assert [with_last.rounded(448, last) for last in (True, False)] == [1280, 448]
    assert with_last.rounded(1792, last=True) == 1792


def test_fractions_need_a_rule() -> None:
    assert rule().rounded(4.8, last=False) is None
    assert rule().rounded(4.0, last=False) == 4


def test_texts_and_numbers_are_the_same_settings() -> None:
    numbers = {"width": 0.5, "resolution": 96, "classes": 7, "batch": 2}
    assert load(V2, numbers) == load(V2, {name: str(value) for name, value in numbers.items()})
    assert load(V2, numbers).settings == {**numbers, "padding": "symmetric", "epsilon": 1e-5, "activation": "relu6"}


def test_width_scales_the_channel_column_and_not_the_classes() -> None:
    network = load(V2, {"width": 2})
    assert network.by_name["r1.0.conv"].type.shape == (1, 112, 112, 64)
    assert network.by_name["r9.0.conv"].type.shape == (1, 7, 7, 2560)
    assert network.types["scores.flatten"].shape == (1, 1000)


def build(text: str, **settings: object) -> Network:
    return elaborate(parse(Source("test.mn", text)), settings)


@pytest.mark.parametrize(("cell", "channels"), [("16", 8), ("b", 8), ("(16)", 16), ("(b)", 16), ("(8 + 8)", 16)])
def test_brackets_keep_a_count_from_being_scaled(cell: str, channels: int) -> None:
    text = "network m(width = 0.5)\ninput image: 8x8x3\nchannels c * width\nlet b = 16\nOperator c\nconv2d " + cell
    assert build(text).by_name["r1.0.conv"].type.shape[-1] == channels


def test_kinds_of_parameters() -> None:
    text = 'network n(on = true, kind = "relu", size = 8, rate = 0.5)\ninput i: size x size x 4\n'
    text += "output y = (i -> act kind) if on else i -> conv 1x1 (i.c * rate)\n"
    assert [n.op.describe() for n in build(text).nodes] == ["relu"]
    assert build(text, on="false", size="16").nodes[0].type.shape == (1, 16, 16, 2)
    assert build(text, kind="swish").nodes[0].op.kind == "swish"  # type: ignore[attr-defined]
    for wrong in ({"on": "maybe"}, {"size": 0.5}, {"rate": "much"}, {"kind": 3}, {"size": 2**40}, {"rate": "nan"}):
        with pytest.raises(DiagnosticError, match="needs"):
            build(text, **wrong)


def test_a_parameter_without_a_default_must_be_set() -> None:
    text = "network n(c)\ninput i: 8x8x4\noutput y = i -> conv 1x1 c\n"
    with pytest.raises(DiagnosticError, match="the parameter `c` needs a value"):
        build(text)
    assert build(text, c=3).nodes[0].type.shape == (1, 8, 8, 3)


def test_padding_can_be_a_parameter() -> None:
    text = 'network n(mode = "same")\ninput i: 8x8x4\ndefaults padding mode\noutput y = i -> conv 3x3 / 2 4\n'
    assert build(text).nodes[0].op.padding == ((0, 1), (0, 1))  # type: ignore[attr-defined]
    assert build(text, mode="valid").nodes[0].type.shape == (1, 3, 3, 4)


def test_a_file_hands_its_settings_on(tmp_path: Path) -> None:
    inner = "network inner\ninput i: 9x9x4\noutput y = i -> conv 3x3 / 2 4 -> norm -> act\n"
    outer = "network outer\ninput i: 9x9x4\ndefaults padding same epsilon 1e-3 activation swish\n"
    outer += "use inner(padding = padding, epsilon = epsilon, activation = activation)\noutput y = inner.y\n"
    (tmp_path / "inner.mn").write_text(inner, encoding="utf-8")
    (tmp_path / "outer.mn").write_text(outer, encoding="utf-8")
    conv, norm, act = load(tmp_path / "outer.mn").nodes
    assert (conv.type.shape, norm.op.epsilon, act.op.kind) == ((1, 5, 5, 4), 1e-3, "swish")  # type: ignore[attr-defined]
    changed = load(tmp_path / "outer.mn", {"padding": "valid", "epsilon": 1e-4, "activation": "relu", "batch": 2})
    conv, norm, act = changed.nodes
    assert (conv.type.shape, norm.op.epsilon, act.op.kind) == ((2, 4, 4, 4), 1e-4, "relu")  # type: ignore[attr-defined]


def test_settings_are_names_that_a_file_can_give_another_meaning() -> None:
    text = "network n(pad = 2)\ninput i: 8x8x4\n{}\noutput y = i -> conv 3x3 (4 + {}) pad padding\n"
    assert build(text.format("", "batch"), batch=3, padding="valid").nodes[0].type.shape == (3, 6, 6, 7)
    assert build(text.format("let padding = pad", "0")).nodes[0].type.shape == (1, 10, 10, 4)
    for wrong in ("network n(a = padding)\n", "network n(a = batch)\n", "network n\ndefaults padding padding\n"):
        with pytest.raises(DiagnosticError, match=r"no name|needs one of"):
            build(wrong + "input i: 8x8x4\noutput y = i -> relu\n")


@pytest.mark.parametrize(
    ("pad", "expected"),
    [("2", ((2, 2), (2, 2))), ("(1, 2)", ((1, 1), (2, 2))), ("((0, 1), (2, 3))", ((0, 1), (2, 3))),
     ("valid", ((0, 0), (0, 0)))],
)  # fmt: skip
def test_explicit_padding(pad: str, expected: object) -> None:
    network = build(f"network n\ninput i: 16x16x4\noutput y = i -> conv 3x3 4 pad {pad}\n")
    assert network.nodes[0].op.padding == expected  # type: ignore[attr-defined]


def test_a_file_replaces_blocks_of_the_prelude() -> None:
    text = (
        "network n\ninput i: 8x8x4\nblock bottleneck(t, c, s): return x -> conv 1x1 (c * t) / s\nbottleneck 2 3 1 1\n"
    )
    assert [n.op.name for n in build(text).nodes] == ["conv"]


def test_the_prelude_is_right() -> None:
    blocks = set(prelude().values())
    assert len(blocks) >= 12
    assert [problem.render() for block in blocks for problem in check_block(block, (), prelude())] == []


def test_every_block_of_the_prelude_works() -> None:
    network = build(
        """
network all
input image: 56x56x24
defaults padding symmetric activation relu
Operator         c    n  s  g  first  t  s1x1  e1x1  e3x3  ratio
shuffle_unit     240  4  2  3  1      -  -     -     -     -
separable        64   1  2  -  -      -  -     -     -     -
fire             -    -  -  -  -      -  16    64    64    -
squeeze_excite   -    -  -  -  -      -  -     -     -     4
dropout          -    -  -  -  -      -  -     -     -     -
bottleneck       64   2  1  -  -      6  -     -     -     -
conv2d 5x5       32   1  1  -  -      -  -     -     -     -
Conv dw          -    1  2  -  -      -  -     -     -     -
maxpool 3x3      -    1  2  -  -      -  -     -     -     -
avgpool 2x2      -    1  1  -  -      -  -     -     -     -
globalpool       -    -  -  -  -      -  -     -     -     -
FC               10   -  -  -  -      -  -     -     -     -
softmax          -    -  -  -  -      -  -     -     -     -
"""
    )
    rows = {node.origin.row for node in network.nodes}
    assert rows == {"shuffle_unit", "separable", "fire", "squeeze_excite", "bottleneck", "conv2d", "Conv dw", "maxpool",
                    "avgpool", "globalpool", "FC", "softmax"}  # fmt: skip
    assert network.outputs[0].kind == "probabilities"


def test_the_example_of_the_language() -> None:
    """The form of a file that programs outside of the project rely on."""
    table = "\n".join(V2.read_text(encoding="utf-8").split("\n\n", 1)[1].splitlines()[:10])
    network = build(
        """
network mobilenet_v2(width = 1.0, resolution = 224, classes = 1000)
input image: resolution x resolution x 3   mean (0.485, 0.456, 0.406) std (0.229, 0.224, 0.225)
channels c * width   round 8 keep 0.9   last >= 1280      # MobileNetV1: truncate, min 8
defaults padding symmetric  epsilon 1e-5  activation relu6
let k = classes

"""
        + table
        + """

block bottleneck(t, c, s):
  e = x -> conv 1x1 (t * x.c) -> norm -> act   if t != 1 else x
  export expanded = e
  y = e -> depthwise 3x3 / s -> norm -> act -> conv 1x1 c -> norm
  return y + x if s == 1 and x.c == c else y

block ssd_head(n):
  return x -> depthwise 3x3 -> norm -> act -> conv 1x1 n bias
output scores4 = body.row(7)[0].expanded -> ssd_head(3 * classes)
"""
    )
    assert network.types[network.outputs[0].value].shape == (1, 14, 14, 3000)
    assert network.by_name["scores4.ssd_head.depthwise"].inputs == ("r7.0.e.act",)
