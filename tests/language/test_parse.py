"""Text to syntax tree: what a line becomes, where it says it stands, and what is kept apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mncc.language import DiagnosticError, Source, parse, resources, show_tree
from mncc.language import tree as t
from mncc.language.parse import parse_all

FILE = """\
network tiny(width = 1.0, classes = 10)  # a comment with "quotes" and a (bracket
input image: 32 x 32 x 3  mean 0.5  std (0.2, 0.2, 0.2)
channels c * width  round 8 keep 0.9  last >= 64
defaults padding same  epsilon 1e-3
let k = max(classes,
            2)   # continues in a bracket
use other(width = width) on image as tower

Type / Stride  Filter Shape   Input Size
Conv / s2      3 × 3 × 3 × 16  $32^2 \\times 3$
5x Conv dw / s1  3x3x16 dw   16² x 16

block "my op", short(c, s = 1):
  a, b = split(x, 2)
  y = a -> conv 3x3 / s pad same groups 2 (c // 2) bias
        -> norm -> act
  export half = y
  return concat(y, b) if s == 1 and not (x.c != c or c < 4) else y
block id: return x
body second from tower.row(-1)[0].half
output scores = body -> "my op"(c=8, s=2) -> reshape (2, -3 + 7)
"""


def walk(tree: t.Tree) -> Iterator[t.Tree]:
    yield tree
    for child in t.children(tree):
        yield from walk(child)


def test_the_whole_language_in_one_file(golden: Callable[[Path, str], None]) -> None:
    golden(Path(__file__).parent / "whole_language.tree", show_tree(parse(Source("tiny.mn", FILE))))


def test_spans_say_what_they_cover() -> None:
    file = parse(Source("tiny.mn", FILE))
    for tree in (each for item in file.items for each in walk(item)):
        assert 0 <= tree.span.start < tree.span.end <= len(FILE)
        if isinstance(tree, t.Name | t.RowToken):
            assert tree.span.text == tree.text
        if isinstance(tree, t.String):
            assert tree.span.text.strip('"') == tree.text
        for child in t.children(tree):
            assert tree.span.start <= child.span.start
            assert child.span.end <= tree.span.end or isinstance(tree, t.Block)


def test_trees_are_compared_without_their_places() -> None:
    moved = parse(Source("other.mn", "\n\n# moved\n" + FILE))
    assert moved == parse(Source("tiny.mn", FILE))


def test_windows_line_ends_and_a_byte_order_mark() -> None:
    assert parse(Source("tiny.mn", FILE.replace("\n", "\r\n"))) == parse(Source("tiny.mn", FILE))


def test_operators_bind_as_everywhere() -> None:
    def tree(text: str) -> t.Expr:
        (item,) = parse(Source("x.mn", f"let k = {text}")).items
        assert isinstance(item, t.Let)
        return item.value

    assert tree("a + b * c") == tree("a + (b * c)")
    assert tree("a - b - c") == tree("(a - b) - c")
    assert tree("-a * b") == tree("(-a) * b")
    assert tree("a == b and c or not d") == tree("((a == b) and c) or (not d)")
    assert tree("a + b -> relu") == tree("(a + b) -> relu")
    assert tree("x -> relu if a else y") == tree("(x -> relu) if a else y")
    assert tree("a if b else c if d else e") == tree("a if b else (c if d else e)")
    assert tree("x -> conv 3x3 x.c / 2").stages[0].arguments[1] == tree("x.c")  # type: ignore[union-attr]


def test_a_wrong_line_hides_no_other() -> None:
    text = "network n(\nlet a = )\nblock b(c):\n  y = = x\n  return x\nlet d = 3\nlet e = 3x3x\n"
    file, found = parse_all(Source("x.mn", text))
    assert [d.labels[0].span.line for d in found] == [1, 2, 4, 7]
    assert [type(item).__name__ for item in file.items] == ["Broken", "Broken", "Broken", "Let", "Broken"]
    assert [item.names for item in file.items if isinstance(item, t.Broken)] == [("n",), ("a",), ("b",), ("e",)]


def test_a_heading_can_begin_like_a_header_line() -> None:
    file = parse(Source("x.mn", "input operator t c n s\n"))
    assert isinstance(file.items[0], t.Row)


def test_the_sign_of_a_column_is_no_comment() -> None:
    (row,) = parse(Source("x.mn", "Input Operator exp size #out SE NL s   # but this is\n")).items
    assert isinstance(row, t.Row)
    assert [token.span.text for token in row.tokens] == ["Input", "Operator", "exp", "size", "out", "SE", "NL", "s"]


def test_data_is_found_in_a_wheel_and_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (resources.data_folder("grammar") / "mn.lark").is_file()
    package = tmp_path / "site-packages" / "mncc"
    (package / "_data" / "grammar").mkdir(parents=True)
    monkeypatch.setattr(resources, "PACKAGE", package)
    assert resources.data_folder("grammar") == package / "_data" / "grammar"
    with pytest.raises(FileNotFoundError, match="targets"):
        resources.data_folder("targets")


def test_parse_raises_what_it_finds() -> None:
    with pytest.raises(DiagnosticError) as caught:
        parse(Source("x.mn", "let a = (\nlet b = )\n"))
    assert len(caught.value.diagnostics) == 2
