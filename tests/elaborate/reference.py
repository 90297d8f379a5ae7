"""The lists of docs/language.md, made from the code. Every rule that they print is computed for the examples beside it
and compared with the network that the example makes, so that neither can be wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mncc.elaborate import elaborate
from mncc.elaborate.arguments import block_form
from mncc.elaborate.functions import FUNCTIONS
from mncc.elaborate.primitives import PRIMITIVES
from mncc.elaborate.program import prelude
from mncc.language import Source, parse
from mncc.language import tree as t
from mncc.language.resources import data_folder
from mncc.network.graph import Network, Node
from mncc.network.ops import Reshape

PICTURE = "14x10x16"


@dataclass(frozen=True)
class Shape:
    """A rule for the shape that something leaves, in sizes of its input (H, W, C), H' and W' and its arguments in
    capitals, or in words; and examples of it: pipelines, or for a block the cells of a row."""

    rule: str
    examples: Sequence[str]
    input: str = PICTURE


WINDOW = "H' x W' x C"
SAME = "H x W x C"
POOLED = "1 x 1 x C where `kernel` is the row's printed size, else H' x W' x C"
SIZE_RULE = "(H + TOP + BOTTOM - DILATION * (KERNEL - 1) - 1) // STRIDE + 1"

STAGES: Mapping[str, Shape] = {
    "conv": Shape(
        "H' x W' x CHANNELS", ["conv 3x3 / 2 32", "conv 3x1 24 groups 4 pad valid", "conv 3x3 8 dilation 2 bias pad 1"]
    ),
    "depthwise": Shape("H' x W' x C * MULTIPLIER", ["depthwise 3x3 / 2", "depthwise 5x5 multiplier 2 pad valid bias"]),
    "norm": Shape(SAME, ["norm"]),
    "act": Shape(SAME, ["act", "act hard_swish"]),
    **{word: Shape(SAME, [word]) for word in ("relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "swish")},
    "leaky": Shape(SAME, ["leaky 0.1"]),
    "maxpool": Shape(WINDOW, ["maxpool 3x3 / 2", "maxpool 3x3 / 2 pad same"]),
    "avgpool": Shape(WINDOW, ["avgpool 2x2 / 2", "avgpool 3x3 pad 1 exclude_pad"]),
    "globalpool": Shape("1 x 1 x C", ["globalpool", "globalpool max"]),
    "mean": Shape("1 along AXIS", ["mean height", "mean channels"]),
    "dense": Shape("UNITS", ["dense 10"], "2240"),
    "softmax": Shape(SAME, ["softmax"]),
    "shuffle": Shape(SAME, ["shuffle 4"]),
    "reshape": Shape("SHAPE", ["reshape (140, 1, 16)", "reshape 2240"]),
    "flatten": Shape("H * W * C", ["flatten"]),
    "slice": Shape("H x W x STOP - START", ["slice 4 12"]),
    "upsample": Shape("SIZE x C", ["upsample 28x20", "upsample 27x19 bilinear align_corners"]),
}
"""Stage word -> what it leaves."""

JOINS: Mapping[str, Shape] = {
    "a + b": Shape("sizes agree, or one of them is 1", ["x + (x -> relu)", "x + (x -> globalpool)"]),
    "a * b": Shape(
        "sizes agree, or one of them is 1", ["x * (x -> mean channels)", "x * (x -> globalpool -> flatten)"]
    ),
    "concat": Shape("H x W x the sum of all C", ["concat(x, x -> conv 1x1 8)"]),
    "split": Shape("H x W x C / 2, or the channels given", ["split(x, 2)[1]", "split(x, (4, 12))[0]"]),
}
"""What makes one tensor of several, or several of one."""

WEIGHTS: Mapping[str, tuple[str, str, Sequence[str], str]] = {
    "conv": (
        "KH * KW * C / GROUPS * CHANNELS, with bias CHANNELS more", "H' * W' * CHANNELS * KH * KW * C / GROUPS",
        ["conv 3x3 / 2 32", "conv 1x1 32 groups 4 bias"], PICTURE,
    ),
    "depthwise": (
        "KH * KW * C * MULTIPLIER, with bias C * MULTIPLIER more", "H' * W' * C * MULTIPLIER * KH * KW",
        ["depthwise 3x3 / 2", "depthwise 5x5 multiplier 2 bias"], PICTURE,
    ),
    "dense": ("C * UNITS, with bias UNITS more", "C * UNITS", ["dense 10", "dense 10 nobias"], "256"),
    "norm": ("2 * C", "0", ["norm"], PICTURE),
}  # fmt: skip
"""Stage word -> parameters, multiply-adds, examples, their input."""

ROWS: Mapping[tuple[str, ...], tuple[str, Sequence[str]]] = {
    ("conv2d",): ("H/s x W/s x c", ["c 32, s 2", "c 8, kernel 1x1"]),
    ("residual", "bottleneck"): ("H/s x W/s x c", ["width 8, c 32, s 2", "width 8, c 16, groups 2"]),
    ("conv", "dw"): ("H/s x W/s x C", ["s 2"]),
    ("bottleneck",): ("H/s x W/s x c", ["t 6, c 24, s 2", "t 1, c 16"]),
    ("bneck",): (
        "H/s x W/s x out",
        ["kernel 5x5, exp_size 64, out 24, SE ✓, NL HS, s 2", "kernel 3x3, exp_size 64, out 16, NL RE"]
    ),
    ("avgpool",): (POOLED, ["kernel 14x10", "kernel 2x2, s 2"]),
    ("maxpool",): (POOLED, ["kernel 3x3, s 2, pad 1"]),
    ("globalpool",): ("1 x 1 x C", [""]),
    ("fc",): ("c", ["c 10"]),
    ("softmax",): ("H x W x C", [""]),
    ("separable",): ("H/s x W/s x c", ["c 32, s 2"]),
    ("fire",): ("H x W x e1x1 + e3x3", ["s1x1 4, e1x1 8, e3x3 12"]),
    ("squeeze_excite",): ("H x W x C", ["", "ratio 1, gate hard_sigmoid"]),
    ("shuffle_unit",): ("H/s x W/s x c", ["c 40, s 2, g 4, first 1", "c 16, g 2, se 4"]),
    ("add_padded",): ("H x W x the larger of both C", ["x -> add_padded(x -> conv 1x1 24)"]),
    ("ssd_extra",): ("H/2 x W/2 x c", ["c 24"]),
    ("ssd_head",): ("H x W x c", ["c 12"]),
    ("aspp",): ("H x W x c", ["c 8, rate 2", "c 8, rate 2, pyramid false"]),
    ("dropout",): ("H x W x C", [""]),
}  # fmt: skip
"""First words of a block of the prelude -> what a row of it leaves, and rows: the cells by their columns."""


# ---------------------------------------------------------------- what the examples make
def build(lines: str, size: str) -> Network:
    """The network of lines on an input `x` of that size."""
    return elaborate(parse(Source("reference.mn", f"network n\ninput x: {size}\n{lines}\n")))


def stage(example: str, size: str) -> Network:
    """The network of one stage."""
    return build(f"output y = x -> {example}", size)


def join(example: str) -> Network:
    """The network of an expression."""
    return build(f"output y = {example}", PICTURE)


def row(block: t.Block, example: str) -> Network:
    """The network of one row of a block, or of a pipeline."""
    if "->" in example:
        return join(example)
    cells = dict(cell.split(" ", 1) for cell in example.split(", ") if cell)
    word = " ".join(block.words[0].text.strip('"').split())
    return build(f"Input Operator {' '.join(cells)}\n{PICTURE} {word} {' '.join(cells.values())}", PICTURE)


def left(network: Network) -> str:
    """The shape that an example leaves, before an output of one pixel becomes a vector."""
    value = network.outputs[0].value
    last = network.by_name.get(value)
    if last is not None and isinstance(last.op, Reshape) and network.types[last.inputs[0]].shape[1:3] == (1, 1):
        value = last.inputs[0]
    return str(network.types[value])


class Size(int):
    """A size whose quotients are rounded up, as those of pictures are."""

    def __truediv__(self, other: int) -> Size:  # type: ignore[override]
        return Size(-(-self // other))


def evaluate(rule: str, values: Mapping[str, object]) -> str | None:
    """The sizes of a rule, `7x5x24`; None for a rule in words."""
    try:
        sizes = [eval(part.replace("'", "_"), {}, dict(values)) for part in rule.split(" x ")]
    except (SyntaxError, NameError):
        return None
    flat = [size for part in sizes for size in (part if isinstance(part, tuple) else (part,))]
    return "x".join(str(int(size)) for size in flat)


def sizes_of(text: str) -> dict[str, object]:
    """H, W and C of an input; a vector has only C."""
    numbers = [Size(number) for number in text.split("x")]
    return dict(zip("HWC", numbers, strict=True)) if len(numbers) == 3 else {"C": numbers[0]}


def values_of(node: Node, size: str) -> dict[str, object]:
    """What a rule of a primitive can mention: the sizes of the input, H' and W', and the operator's attributes."""
    values: dict[str, object] = sizes_of(size)
    for name, value in vars(node.op).items():
        values[name.upper()] = value
    if isinstance(values.get("KERNEL"), tuple):
        values["KH"], values["KW"] = values["KERNEL"]  # type: ignore[misc]
        for axis, name in enumerate("HW"):
            window = {
                "H": values[name], "KERNEL": values["KERNEL"][axis], "STRIDE": values["STRIDE"][axis],  # type: ignore[index]
                "DILATION": values.get("DILATION", (1, 1))[axis],  # type: ignore[index]
                "TOP": values["PADDING"][axis][0], "BOTTOM": values["PADDING"][axis][1],  # type: ignore[index]
            }  # fmt: skip
            values[f"{name}_"] = Size(eval(SIZE_RULE, {}, window))
    return values


# ---------------------------------------------------------------- tables
def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in [head, ["---"] * len(head), *rows])


def code(text: str) -> str:
    """Text as code."""
    return f"`{text}`" if text else ""


def rule_text(rule: str) -> str:
    """A rule as the page shows it: sizes as code, words as they are."""
    return rule if re.search(r"\b(the|agree|along|where)\b", rule) else code(rule)


def primitives() -> str:
    """Every stage, what it leaves, and examples."""
    rows = []
    for word, primitive in PRIMITIVES.items():
        shape = STAGES[word]
        made = [f"`{each}`: {left(stage(each, shape.input))}" for each in shape.examples]
        rows.append([code(primitive.form(word)), primitive.summary, rule_text(shape.rule), "<br>".join(made)])
    return table(["stage", "meaning", "leaves", "of 14x10x16, `dense` of a vector"], rows)


def functions() -> str:
    """Every function of expressions."""
    rows = [[", ".join(map(code, f.forms)), f.summary] for f in FUNCTIONS.values()]
    return table(["function", "value"], rows)


def joins() -> str:
    """What combines tensors."""
    rows = []
    for word, shape in JOINS.items():
        form = ", ".join(map(code, FUNCTIONS[word].forms)) if word in FUNCTIONS else code(word)
        rows.append([form, shape.rule, "<br>".join(f"`{each}`: {left(join(each))}" for each in shape.examples)])
    return table(["of tensors", "shapes", "where `x` is 14x10x16"], rows)


def weights() -> str:
    """What has parameters and multiply-adds."""
    rows = []
    for word, (params, macs, examples, size) in WEIGHTS.items():
        made = []
        for each in examples:
            network = stage(each, size)
            made.append(f"`{size} -> {each}`: {network.params:,}; {network.macs:,}")
        plain, _, bias = params.partition(", with bias ")
        both = f"`{plain}`, with bias `{bias.removesuffix(' more')}` more" if bias else code(plain)
        rows.append([code(word), both, code(macs), "<br>".join(made)])
    return table(["stage", "parameters", "multiply-adds", "for example: both"], rows)


def blocks() -> str:
    """Every block of the prelude."""
    known = prelude()
    rows = []
    for block in dict.fromkeys(known.values()):
        words = ", ".join(code(word.text.strip('"')) for word in block.words)
        parameters = block_form(block).split("(", 1)[1].removesuffix(")")
        rule, examples = next(entry for key, entry in ROWS.items() if known[key] is block)
        made = []
        for each in examples:
            network = row(block, each)
            costs = f"; {network.params:,}; {network.macs:,}" if network.params else ""
            made.append(f"{code(each) + ': ' if each else ''}{left(network)}{costs}")
        rows.append([words, code(parameters), rule_text(rule), "<br>".join(made)])
    return table(["words", "parameters", "leaves", "a row at 14x10x16: leaves; parameters; multiply-adds"], rows)


def bodies() -> str:
    """The prelude itself, behind its first comment."""
    text = (data_folder("grammar") / "prelude.mn").read_text(encoding="utf-8")
    return f"```\n{text.split(chr(10) * 2, 1)[1].rstrip()}\n```"


SECTIONS = {
    "primitives": primitives, "weights": weights, "joins": joins, "functions": functions, "prelude": blocks,
    "bodies": bodies,
}  # fmt: skip
"""Section of the page -> what makes it."""
