"""What the language is for beside the two MobileNets: taps, other files, branches, groups, other tables' columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from mncc.elaborate import elaborate, load, show_network
from mncc.language import DiagnosticError, Source, parse
from mncc.network.graph import Network, check_network

EXAMPLES = Path(__file__).parents[2] / "examples"


def build(text: str, name: str = "test.mn", **settings: object) -> Network:
    network = elaborate(parse(Source(name, text)), settings)
    check_network(network)
    return network


SSDLITE = """
network ssdlite(width = 1.0, resolution = 320, classes = 91)
input image: resolution x resolution x 3
defaults padding symmetric  epsilon 1e-3  activation relu6
use mobilenet_v2(width = width, resolution = resolution) as backbone

block extra(c):
  return x -> conv 1x1 (c / 2) -> norm -> act -> depthwise 3x3 / 2 -> norm -> act -> conv 1x1 c -> norm -> act

block ssd_head(c):
  return x -> depthwise 3x3 -> norm -> act -> conv 1x1 c bias

let c4 = backbone.row(7)[0].expanded
let c5 = backbone.row(9)
let c6 = c5 -> extra(512)
let c7 = c6 -> extra(256)
let c8 = c7 -> extra(256)
let c9 = c8 -> extra(128)

output scores4 = c4 -> ssd_head(3 * classes)
output boxes4 = c4 -> ssd_head(3 * 4)
output scores5 = c5 -> ssd_head(6 * classes)
output boxes5 = c5 -> ssd_head(6 * 4)
output scores6 = c6 -> ssd_head(6 * classes)
output boxes6 = c6 -> ssd_head(6 * 4)
output scores7 = c7 -> ssd_head(6 * classes)
output boxes7 = c7 -> ssd_head(6 * 4)
output scores8 = c8 -> ssd_head(6 * classes)
output boxes8 = c8 -> ssd_head(6 * 4)
output scores9 = c9 -> ssd_head(6 * classes)
output boxes9 = c9 -> ssd_head(6 * 4)
"""


def test_ssdlite_takes_another_files_body_and_taps_it() -> None:
    network = build(SSDLITE, str(EXAMPLES / "ssdlite.mn"))
    assert network.macs == 804_397_504
    assert network.params == 4_500_543
    assert len(network.outputs) == 12
    assert network.types[network.outputs[0].value].shape == (1, 20, 20, 273)
    assert "backbone.r7.0.e.act" in network.by_name
    assert not any(n.name.startswith("backbone.r11") for n in network.nodes), "the classifier is not needed"


SQUEEZENET = """
network squeezenet(resolution = 224, classes = 1000)
input image: resolution x resolution x 3
defaults activation relu

block conv1(c, kernel, s):
  return x -> conv kernel / s c bias pad valid -> act
block fire(s1x1, e1x1, e3x3):
  s = x -> conv 1x1 s1x1 bias -> act
  a = s -> conv 1x1 e1x1 bias -> act
  b = s -> conv 3x3 e3x3 bias pad 1 -> act
  return concat(a, b)
block pool:
  return x -> maxpool 3x3 / 2 ceil
block classify(c):
  return x -> conv 1x1 c bias -> act -> globalpool

Operator    kernel  s  c        s1x1  e1x1  e3x3
conv1       7x7     2  96       -     -     -
pool        -       -  -        -     -     -
fire        -       -  -        16    64    64
fire        -       -  -        16    64    64
fire        -       -  -        32    128   128
pool        -       -  -        -     -     -
fire        -       -  -        32    128   128
fire        -       -  -        48    192   192
fire        -       -  -        48    192   192
fire        -       -  -        64    256   256
pool        -       -  -        -     -     -
fire        -       -  -        64    256   256
classify    -       -  classes  -     -     -
"""


def test_squeezenet() -> None:
    network = build(SQUEEZENET)
    assert (network.params, network.macs) == (1_248_424, 818_924_576)


SHUFFLENET = """
network shufflenet(width = 1.0, resolution = 224, classes = 1000, g = 3)
input image: resolution x resolution x 3
channels c * width  truncate
defaults padding symmetric  activation relu
let base = 144 if g == 1 else 200 if g == 2 else 240 if g == 3 else 272 if g == 4 else 384
let c2 = base
let c3 = base * 2
let c4 = base * 4

block stem(c):
  return x -> conv 3x3 / 2 c -> norm -> act -> maxpool 3x3 / 2 pad 1
block stage(c, s, first = 0):
  out = c - x.c if s == 2 else c
  y = x -> conv 1x1 (c / 4) groups (1 if first == 1 and repeat == 0 else g) -> norm -> act
  z = y -> shuffle g -> depthwise 3x3 / s -> norm -> conv 1x1 out groups g -> norm
  return (y2(x, z) if s == 2 else x + z) -> act
block y2(z):
  return concat(x -> avgpool 3x3 / 2 pad 1, z)

Operator     c     n  s  first
stem         (24)  1  -  -
stage        c2    4  2  1
stage        c3    8  2  -
stage        c4    4  2  -
globalpool   -     -  -  -
FC           classes - - -
"""


@pytest.mark.parametrize(
    ("g", "macs", "params"),
    [
        (1, 143_078_976, 1_531_936),
        (2, 140_836_512, 1_733_848),
        (3, 137_460_672, 1_865_728),
        (4, 134_339_776, 1_968_344),
        (8, 138_365_952, 2_434_768),
    ],
)
def test_shufflenet(g: int, macs: int, params: int) -> None:
    network = build(SHUFFLENET, g=g)
    assert (network.macs, network.params) == (macs, params)


MOBILENET_V3 = """
network mobilenet_v3_small(width = 1.0, resolution = 224, classes = 1000)
input image: resolution x resolution x 3
channels out * width  round 8 keep 0.9
channels exp_size * width  round 8 keep 0.9
defaults padding symmetric  epsilon 1e-3  activation hard_swish
let k = classes

block bneck(kernel, exp_size, out, SE = false, NL, s):
  e = x -> conv 1x1 exp_size -> norm -> act NL if exp_size != x.c else x
  d = e -> depthwise kernel / s -> norm -> act NL
  y = (d -> squeeze_excite if SE else d) -> conv 1x1 out -> norm
  return y + x if s == 1 and x.c == out else y
block squeeze_excite:
  g = x -> globalpool -> conv 1x1 (make_divisible(x.c / 4)) bias -> relu
  return x * (g -> conv 1x1 x.c bias -> hard_sigmoid)
block conv2d(out, s, NL, kernel = 3x3):
  return x -> conv kernel / s out -> norm -> act NL
block pool(kernel):
  return x -> globalpool if kernel == declared.size else x -> avgpool kernel
block "conv2d 1x1, NBN"(out, NL = "none"):
  return x -> conv 1x1 out bias -> act NL

Input        Operator          exp size  #out   SE  NL  s
224^2 × 3    conv2d, 3x3       -         16     -   HS  2
112^2 × 16   bneck, 3x3        16        16     ✓   RE  2
56^2 × 16    bneck, 3x3        72        24     -   RE  2
28^2 × 24    bneck, 3x3        88        24     -   RE  1
28^2 × 24    bneck, 5x5        96        40     ✓   HS  2
14^2 × 40    bneck, 5x5        240       40     ✓   HS  1
14^2 × 40    bneck, 5x5        240       40     ✓   HS  1
14^2 × 40    bneck, 5x5        120       48     ✓   HS  1
14^2 × 48    bneck, 5x5        144       48     ✓   HS  1
14^2 × 48    bneck, 5x5        288       96     ✓   HS  2
7^2 × 96     bneck, 5x5        576       96     ✓   HS  1
7^2 × 96     bneck, 5x5        576       96     ✓   HS  1
7^2 × 96     conv2d, 1x1       -         576    -   HS  1
7^2 × 576    pool, 7x7         -         -      -   -   1
1^2 × 576    conv2d 1x1, NBN   -         1024   -   HS  1
1^2 × 1024   conv2d 1x1, NBN   -         k      -   -   1
"""


def test_mobilenet_v3_has_other_columns() -> None:
    network = build(MOBILENET_V3)
    assert network.params == 2_542_856  # torchvision's mobilenet_v3_small


RESNET = """
network resnet50(resolution = 224, classes = 1000, groups = 1, base = 64)
input image: resolution x resolution x 3
defaults padding symmetric  activation relu

block stem(c):
  return x -> conv 7x7 / 2 c -> norm -> act -> maxpool 3x3 / 2 pad 1
block residual(c, s):
  w = c / 4 * base / 64 * groups
  y = x -> conv 1x1 w -> norm -> act -> conv 3x3 / s groups groups w -> norm -> act -> conv 1x1 c -> norm
  skip = x if x.c == c and s == 1 else x -> conv 1x1 / s c -> norm
  return y + skip -> act

Operator    c        n  s
stem        64       -  -
residual    256      3  1
residual    512      4  2
residual    1024     6  2
residual    2048     3  2
globalpool  -        -  -
FC          classes  -  -
"""


def test_resnet_and_resnext() -> None:
    resnet = build(RESNET)
    assert (resnet.params, resnet.macs) == (25_557_032, 4_089_184_256)
    assert build(RESNET, groups=32, base=4).params == 25_028_904


def test_several_inputs_and_bodies() -> None:
    network = build(
        """
network pair(size = 16)
input left: size x size x 3
input right: size x size x 3
body a from left
conv2d - 8 1 2
body b from right
conv2d - 8 1 2
body from concat(a, b)
bottleneck 6 16 1 2
output both = body -> globalpool
output second = b.row(1) -> conv 1x1 4
"""
    )
    assert [i.name for i in network.inputs] == ["left", "right"]
    assert [(o.name, o.kind) for o in network.outputs] == [("both", "features"), ("second", "features")]
    assert network.types[network.outputs[0].value].shape == (1, 16)
    assert {n.name.split(".")[0] for n in network.nodes} == {"a", "b", "body", "r1", "both", "second"}


def test_conditionals_on_parameters_and_dilation() -> None:
    text = """
network atrous(output_stride = 16, classes = 21)
input image: 64x64x3
defaults padding symmetric activation relu6
block dilated(t, c, s, rate):
  e = x -> conv 1x1 (t * x.c) -> norm -> act
  y = e -> depthwise 3x3 / s dilation rate -> norm -> act -> conv 1x1 c -> norm
  return y + x if s == 1 and x.c == c else y
Operator  t  c   n  s  rate
dilated   6  16  1  2  1
dilated   6  24  2  (2 if output_stride >= 16 else 1)  (1 if output_stride >= 16 else 2)
output seg = body -> conv 1x1 classes bias -> upsample image.size bilinear
"""
    assert build(text).by_name["r2.0.y.depthwise"].type.shape == (1, 16, 16, 96)
    dense = build(text, output_stride=8)
    assert dense.by_name["r2.0.y.depthwise"].type.shape == (1, 32, 32, 96)
    assert dense.by_name["r2.1.y.depthwise"].op.dilation == (2, 2)  # type: ignore[attr-defined]
    assert dense.types[dense.outputs[0].value].shape == (1, 64, 64, 21)


def test_a_block_can_return_and_take_several_tensors() -> None:
    network = build(
        """
network m
input image: 8x8x16
block halves: return split(x, 2)
block join(other):
  return concat(x, other) -> shuffle 2
let parts = image -> halves
output y = parts[1] -> join(parts[0] -> conv 3x3 8)
"""
    )
    assert [n.op.name for n in network.nodes] == ["slice", "slice", "conv", "concat", "shuffle"]


def test_the_printed_network_has_a_line_a_node() -> None:
    network = load(EXAMPLES / "mobilenet_v2.mn")
    text = show_network(network)
    assert len(text.splitlines()) == len(network.nodes) + 3
    assert "output scores: scores.flatten (logits)" in text


def test_settings_reach_used_networks(tmp_path: Path) -> None:
    (tmp_path / "tower.mn").write_text("network tower(c = 8)\ninput image: 8x8x3\noutput y = image -> conv 3x3 c\n")
    top = (
        "network top\ninput image: 8x8x3\nuse tower(c = 4) as a\nuse tower on image as b\noutput z = concat(a.y, b.y)\n"
    )
    network = build(top, str(tmp_path / "top.mn"))
    assert network.types[network.outputs[0].value].shape == (1, 8, 8, 12)
    assert [n.name for n in network.nodes] == ["a.y.conv", "b.y.conv", "z.concat"]


def test_files_that_use_each_other(tmp_path: Path) -> None:
    for one, other in ("ab", "ba"):
        (tmp_path / f"{one}.mn").write_text(f"network {one}\ninput image: 8x8x3\nuse {other}\noutput y = {other}.y\n")
    with pytest.raises(DiagnosticError, match="a network must not use itself: a -> b -> a"):
        load(tmp_path / "a.mn")
