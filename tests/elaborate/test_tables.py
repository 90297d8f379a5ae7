"""Tables in every way that people paste them give the same graph."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mncc.elaborate import elaborate, load
from mncc.language import DiagnosticError, Source, parse
from mncc.network.graph import Network

ROOT = Path(__file__).parents[2]
V1 = ROOT / "examples" / "mobilenet_v1.mn"
V2 = ROOT / "examples" / "mobilenet_v2.mn"


def build(text: str, **settings: object) -> Network:
    return elaborate(parse(Source("test.mn", text)), settings)


def parts(path: Path) -> tuple[str, list[str]]:
    """The header of an example and the rows of its table."""
    header, table = path.read_text(encoding="utf-8").split("\n\n", 1)
    return header + "\n\n", table.rstrip().split("\n")


def single_spaces(line: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"(\d)x(\d)", r"\1 x \2", line))


def tabs(line: str) -> str:
    indent = "\t" if line.startswith(" ") else ""
    return indent + re.sub(r"\s{2,}", "\t", re.sub(r"^(\d+x) ", "\\1\t", line.strip()))


def unicode_signs(line: str) -> str:
    return re.sub(r"(?<=[\d ])x(?=[\d ])", "×", line).replace("^2", "²")


def latex(line: str) -> str:
    line = re.sub(r"\d+(?:\^2)?(?: x \d+)+", lambda m: f"${m[0]}$".replace("x", r"\times"), line)
    return line.replace("$ dw", r" \text{ dw}$")


def markdown(line: str) -> str:
    indent = "| |" if line.startswith(" ") else "|"
    line = re.sub(r"^(\d+x) ", r"\1 | ", line.strip())
    return indent + re.sub(r"\s{2,}", " | ", line) + " |"


def compact(line: str) -> str:
    return re.sub(r"(?<=\d) x (?=\d)", "x", line)


def stars(line: str) -> str:
    return re.sub(r"(?<=\d) x (?=\d)", " * ", line)


VARIANTS = [single_spaces, tabs, unicode_signs, latex, markdown, compact, stars, str.upper, str.lower]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("path", [V1, V2], ids=["v1", "v2"])
def test_textual_variants_give_the_same_graph(path: Path, variant) -> None:  # type: ignore[no-untyped-def]
    if path == V2 and variant == str.upper:
        pytest.skip("K is not the name k")
    header, rows = parts(path)
    network, expected = build(header + "\n".join(variant(row) for row in rows) + "\n"), load(path)
    if variant in (str.upper, str.lower):
        assert [n.origin.row for n in network.nodes] == [variant(n.origin.row) for n in expected.nodes]
        facts = ("name", "op", "inputs", "type")
        assert [[getattr(n, f) for f in facts] for n in network.nodes] == [
            [getattr(n, f) for f in facts] for n in expected.nodes
        ]
    else:
        assert network.nodes == expected.nodes
    assert network.outputs == expected.outputs


@pytest.mark.parametrize("path", [V1, V2], ids=["v1", "v2"])
def test_the_heading_may_be_missing(path: Path) -> None:
    header, rows = parts(path)
    assert build(header + "\n".join(rows[1:])).nodes == load(path).nodes


@pytest.mark.parametrize("path", [V1, V2], ids=["v1", "v2"])
def test_the_name_of_a_network_means_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("network mobilenet", "network zebra")
    network, expected = build(text), load(path)
    assert network.name.startswith("zebra")
    assert (network.nodes, network.inputs, network.outputs) == (expected.nodes, expected.inputs, expected.outputs)


def test_columns_may_change_places() -> None:
    header, _ = parts(V2)
    table = """
    Operator     s  n  c     t  Input
    conv2d       2  1  32    -  224 x 224 x 3
    bottleneck   1  1  16    1  112 x 112 x 32
    bottleneck   2  2  24    6  112 x 112 x 16
    """
    network = build(header + table)
    assert network.nodes == load_prefix(3)


def load_prefix(rows: int) -> tuple[object, ...]:
    header, lines = parts(V2)
    return build(header + "\n".join(lines[: rows + 1])).nodes


TABLES = Path(__file__).parent / "tables"


def test_table_2_of_mobilenet_v2_pastes_as_it_is() -> None:
    header, _ = parts(V2)
    assert build(header + (TABLES / "mobilenet_v2_table2.txt").read_text(encoding="utf-8")).nodes == load(V2).nodes


def test_table_1_of_mobilenet_v1_needs_one_correction() -> None:
    header, _ = parts(V1)
    table = (TABLES / "mobilenet_v1_table1.txt").read_text(encoding="utf-8")
    with pytest.raises(DiagnosticError) as caught:
        build(header + table)
    assert len(caught.value.diagnostics) == 1
    fixed = table.replace("Conv dw / s2\t3 x 3 x 1024", "Conv dw / s1\t3 x 3 x 1024")
    assert build(header + fixed).nodes == load(V1).nodes


def test_the_cse_table_pastes_with_its_two_operators() -> None:
    """One reading of the text: counts are not claimed; blocks, pixels and broadcasting are."""
    header = """network mobilenet_v2_cse(width = 1.0, resolution = 32, classes = 10)
input image: resolution x resolution x 3
channels c * width  round 8 keep 0.9
defaults padding symmetric  epsilon 1e-5  activation relu6

block "depthwise conv2d"(c, s):
  return x -> depthwise 3x3 / s multiplier (c / x.c) -> norm -> act

block cse(ratio = 16, cap = 16):
  pixels = x.h * x.w
  squeezed = x -> mean channels -> flatten
  scales = squeezed -> dense (max(pixels // ratio, cap)) -> relu -> dense pixels -> sigmoid
  return x * (scales -> reshape (x.h, x.w, 1))

block "bottleneck with CSE"(t, c, s):
  e = x -> conv 1x1 (t * x.c) -> norm -> act
  y = e -> depthwise 3x3 / s -> norm -> act -> cse -> slice 0 c
  return y + x if s == 1 and x.c == c else y

"""
    network = build(header + (TABLES / "mobilenet_v2_cse_table1.txt").read_text(encoding="utf-8"))
    assert network.types[network.outputs[0].value].shape == (1, 1280)
    assert network.by_name["r4.0.y.cse.scales.dense2"].type.shape == (1, 256)


def test_the_misprint_of_table_1_is_reported_as_such() -> None:
    header, rows = parts(V1)
    wrong = [row.replace("Conv dw / s1     3 x 3 x 1024", "Conv dw / s2     3 x 3 x 1024") for row in rows]
    with pytest.raises(DiagnosticError) as caught:
        build(header + "\n".join(tabs(row) for row in wrong))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.title == "this row leaves 4x4x1024, but the next row's input says 7x7x1024"
    assert [label.text for label in diagnostic.labels] == ["stride 2 halves 7x7", "declared here"]
    assert [label.span.text.expandtabs(1) for label in diagnostic.labels] == ["Conv dw / s2", "7 x 7 x 1024"]
    assert diagnostic.help == "`Conv dw / s1` gives 7x7x1024 (the paper's table is known to misprint this row)"


def test_the_form_of_a_diagnostic() -> None:
    header = "network m(resolution = 7)\ninput image: resolution x resolution x 1024\ndefaults padding same\n"
    text = header + (
        "Conv dw / s2    3x3x1024 dw     7x7x1024\n"
        "Conv / s1       1x1x1024x1024   7x7x1024\n"
    )  # fmt: skip
    with pytest.raises(DiagnosticError) as caught:
        build(text)
    assert caught.value.diagnostics[0].render() == (
        "error: this row leaves 4x4x1024, but the next row's input says 7x7x1024\n"
        " --> test.mn:4:1\n"
        "  |\n"
        "4 | Conv dw / s2    3x3x1024 dw     7x7x1024\n"
        "  | ^^^^^^^^^^^^ stride 2 halves 7x7\n"
        "5 | Conv / s1       1x1x1024x1024   7x7x1024\n"
        "  |                                 ^^^^^^^^ declared here\n"
        "help: `Conv dw / s1` gives 7x7x1024 (the paper's table is known to misprint this row)"
    )


def test_a_group_of_one_row_is_that_row_repeated() -> None:
    header = "network m\ninput image: 8x8x16\n"
    grouped = build(header + "3x bottleneck 6 16 1 1\nbottleneck 6 16 1 1\n")
    assert [(n.origin.index, n.origin.repeat) for n in grouped.nodes if n.op.name == "add"] == [
        (0, 0), (0, 1), (0, 2), (1, 0),
    ]  # fmt: skip
    assert grouped.nodes[:27] == build(header + "bottleneck 6 16 3 1\n").nodes


def test_a_group_repeats_its_rows_together() -> None:
    header = "network m\ninput image: 8x8x16\n"
    network = build(header + "2x\n  Conv dw / s1  3x3x16 dw\n  Conv / s1  1x1x16x16\nConv / s1 1x1x16x8\n")
    kinds = [(n.origin.index, n.origin.repeat) for n in network.nodes if n.op.name in ("conv", "depthwise")]
    assert kinds == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0)]


def test_stride_only_on_the_first_repeat() -> None:
    network = build("network m\ninput image: 32x32x16\nbottleneck 6 24 3 2\n")
    strides = [n.op.stride for n in network.nodes if n.op.name == "depthwise"]
    assert strides == [(2, 2), (1, 1), (1, 1)]
    assert [n.name for n in network.nodes if n.op.name == "add"] == ["r1.1.add", "r1.2.add"]


def test_node_names_and_origins() -> None:
    network = load(V2)
    assert len({n.name for n in network.nodes}) == len(network.nodes)
    node = network.by_name["r3.1.e.conv"]
    assert (node.origin.row, node.origin.index, node.origin.repeat) == ("bottleneck", 2, 1)
    assert node.origin.span.text.startswith("112^2 x 16")
    assert load(V2) == network


def test_what_is_said_about_outputs() -> None:
    v1, v2 = load(V1), load(V2)
    assert [(o.name, o.kind) for o in (*v1.outputs, *v2.outputs)] == [("scores", "probabilities"), ("scores", "logits")]
    assert v2.types[v2.outputs[0].value].shape == v1.types[v1.outputs[0].value].shape == (1, 1000)
    assert v2.by_name["r11.0.conv"].op.bias  # type: ignore[attr-defined]
    assert "r11.0.norm" not in v2.by_name
    assert v2.inputs[0].mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("resolution", [96, 100, 127, 225])
def test_a_printed_kernel_pools_whatever_arrives(resolution: int) -> None:
    network = load(V2, {"resolution": str(resolution)})
    assert [n.op.name for n in network.nodes if "pool" in n.op.name] == ["globalpool"]


@pytest.mark.parametrize(("padding", "expected"), [("same", ((0, 1), (0, 1))), ("symmetric", ((1, 1), (1, 1)))])
def test_padding_and_epsilon_are_settings(padding: str, expected: object) -> None:
    network = load(V2, {"padding": padding, "epsilon": "1e-3"})
    assert network.nodes[0].op.padding == expected  # type: ignore[attr-defined]
    assert network.nodes[1].op.epsilon == 1e-3  # type: ignore[attr-defined]
    assert (network.settings["padding"], network.settings["epsilon"]) == (padding, 1e-3)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
@pytest.mark.parametrize("classes", [10, 1001])
def test_printed_classes_follow_the_parameter(name: str, classes: int) -> None:
    network = load(ROOT / "examples" / f"{name}.mn", {"classes": classes})
    assert network.types[network.outputs[0].value].shape == (1, classes)


def test_a_default_of_1001_classes_for_a_table_that_prints_1000() -> None:
    text = V1.read_text(encoding="utf-8").replace("classes = 1000", "classes = 1001")
    assert build(text).params == 4_233_001


def test_the_class_parameter_can_have_another_name() -> None:
    text = (
        V2.read_text(encoding="utf-8").replace("classes = 1000", "labels = 1000").replace("k = classes", "k = labels")
    )
    assert build(text).nodes == load(V2).nodes
    text = V1.read_text(encoding="utf-8").replace("classes = 1000", "labels = 1000")
    text = text.replace("activation relu6", "activation relu6  classes labels")
    assert build(text, labels=1001).params == 4_233_001


def test_a_filter_of_a_dense_layer_counts_every_element() -> None:
    header = "network m(classes = 10)\ninput image: 8x8x4\n"
    network = build(
        header + "Conv / s2  3x3x4x16  8x8x4\nFC / s1  256 x 64  4x4x16\nFC / s1  64 x 1000  1x1x64\n", classes=7
    )
    assert [n.type.shape for n in network.nodes if n.op.name == "dense"] == [(1, 64), (1, 7)]


def test_cells_can_say_true_and_false() -> None:
    text = "network n\ninput i: 8x8x4\nOperator se\nop {}\nblock op(se): return (x -> relu) if se else x -> sigmoid\n"
    for word, kind in (("true", "relu"), ("✓", "relu"), ("false", "sigmoid")):
        network = elaborate(parse(Source("n.mn", text.format(word))))
        assert [node.op.describe() for node in network.nodes] == [kind]
