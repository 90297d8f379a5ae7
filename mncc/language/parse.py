"""Text to syntax tree. Every logical line is parsed by itself, so that one wrong line hides no other."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import lark

from mncc.language import build, errors
from mncc.language import tree as t
from mncc.language.diagnostic import Diagnostic, DiagnosticError
from mncc.language.lines import HEADER_WORDS, Lines, LogicalLine
from mncc.language.resources import data_folder
from mncc.language.source import Source, Span

MAX_BYTES = 128 * 1024
"""The largest network file that is read; published networks need a hundredth of it."""

_VALUE = "a value"
_WORDS = {
    "NAME": "a name", "NUMBER": _VALUE, "SIZE": _VALUE, "STRING": _VALUE, "TRUE": _VALUE, "FALSE": _VALUE,
    "NONE": _VALUE, "LPAR": "`(`", "RPAR": "`)`", "LSQB": "`[`", "RSQB": "`]`", "COMMA": "`,`", "COLON": "`:`",
    "EQUAL": "`=`", "DOT": "`.`", "_BY": "`x`", "$END": "the end of the line", "COMPARE": "a comparison",
    "IF": "`if`", "ELSE": "`else`", "_ARROW": "`->`", "SQUARE": "`^2`", "MINUS": "an operator",
    "PLUS": "an operator", "STAR": "an operator", "SLASH": "an operator", "DSLASH": "an operator",
    "PERCENT": "an operator", "AND": "an operator", "OR": "an operator", "NOT": _VALUE,
}  # fmt: skip


def read_source(path: str | Path) -> Source:
    """The text of a network file. Raises DiagnosticError for a file that is missing, too large or not UTF-8."""
    path = Path(path)
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise DiagnosticError([errors.NotFound(str(path), _neighbours(path))]) from None
    except OSError as error:
        raise DiagnosticError([errors.Unreadable(str(path), error.strerror or str(error))]) from None
    if len(data) > MAX_BYTES:
        raise DiagnosticError([errors.TooLarge(str(path), max(size, len(data)), MAX_BYTES)])
    if b"\0" in data:
        raise DiagnosticError([errors.NotText(str(path), data.index(b"\0"))])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DiagnosticError([errors.NotText(str(path), error.start)]) from None
    return Source(str(path), text)


def _neighbours(path: Path) -> tuple[str, ...]:
    """Network files beside a missing one whose names come close."""
    folder = path.parent
    names = [p.name for p in folder.glob("*.mn")] if folder.is_dir() else []
    return tuple(f"`{folder / name}`" for name in get_close_matches(path.name, names, 2))


def parse(source: Source) -> t.File:
    """The syntax tree of a source. Raises DiagnosticError with every line that cannot be read."""
    file, found = parse_all(source)
    if found:
        raise DiagnosticError(found)
    return file


def parse_all(source: Source) -> tuple[t.File, list[Diagnostic]]:
    """The syntax tree with unreadable lines as `Broken` items, and what is wrong with them."""
    if len(source.text) > MAX_BYTES:
        raise DiagnosticError([errors.TooLarge(source.name, len(source.text), MAX_BYTES)])
    if "\0" in source.text:
        raise DiagnosticError([errors.NotText(source.name, source.text.index("\0"))])
    lines = Lines(source)
    if not lines.lines and not lines.found:
        raise DiagnosticError([errors.EmptyFile(source.name)])
    return _Reader(lines).file(), lines.found


@lru_cache(maxsize=1)
def _parser() -> lark.Lark:
    grammar = (data_folder("grammar") / "mn.lark").read_text(encoding="utf-8")
    return lark.Lark(
        grammar, parser="lalr", start=["header", "block", "statement", "row"], propagate_positions=True,
        maybe_placeholders=True,
    )  # fmt: skip


class _Reader:
    """Reads the logical lines of one source one after the other."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.source = lines.source
        self.items: list[t.Item] = []

    def file(self) -> t.File:
        pending = list(reversed(self.lines.lines))
        while pending:
            line = pending.pop()
            item = self._line(line)
            if line.kind == "block":
                body = []
                while pending and pending[-1].kind == "statement":
                    body.append(pending.pop())
                item = self._block(line, item, body)
            self.items.append(item)
        return t.File(self.source, tuple(self.items))

    def _block(self, line: LogicalLine, head: t.Item, body: list[LogicalLine]) -> t.Item:
        statements = [self._line(each) for each in body]
        if not isinstance(head, t.Block):
            return head
        if not body:
            self.lines.found.append(errors.MissingBody(head.span))
        if not body or any(isinstance(each, t.Broken) for each in statements):
            return t.Broken(head.span, "block", tuple(word.text for word in head.words))
        return t.Block(head.span, head.words, head.parameters, tuple(statements))  # type: ignore[arg-type]

    def _line(self, line: LogicalLine) -> t.Item:
        text = self.lines.text[line.start : line.end]
        if line.broken:
            return t.Broken(Span(self.source, line.start, line.end), line.kind, _defined(text))
        try:
            parsed = _parser().parse(text, start=line.kind)
            built = build.build(parsed, self.source, line.start, Span(self.source, line.start, line.end))
        except lark.UnexpectedInput as error:
            self.lines.found.append(self._unexpected(error, line, text))
        except DiagnosticError as refused:
            self.lines.found.extend(refused.diagnostics)
        else:
            if isinstance(built, t.Row):
                # What stands before the first cell: blanks, and the separators of empty cells.
                before = re.match(r"[\s|&]*", text)
                built = t.Row(built.span, built.tokens, line.indent + (before.end() if before else 0))
            return built
        span = Span(self.source, line.start, line.end)
        meant = _meant(text) if line.kind in ("row", "block") else None
        if meant is None:
            return t.Broken(span, line.kind, _defined(text))
        names = _defined(re.sub(r"\w+", meant, text, count=1))
        return t.Broken(span, "block", names) if meant == "block" else t.Broken(span, "header", (meant, *names))

    def _unexpected(self, error: lark.UnexpectedInput, line: LogicalLine, text: str) -> Diagnostic:
        if isinstance(error, lark.UnexpectedToken):
            expected = error.accepts or error.expected
            width = len(error.token) if error.token.type != "$END" else 0
            start = error.token.start_pos
            at = start if width and start is not None else len(text)
            found = f"`{error.token}`" if width else "the end of the line"
        else:
            assert isinstance(error, lark.UnexpectedCharacters)
            expected, at, width = error.allowed or set(), error.pos_in_stream or 0, 1
            found = f"`{text[at : at + 1]}`"
        span = Span(self.source, line.start + at, line.start + at + max(width, 1))
        words = _WORDS if line.kind != "row" else {}
        names = dict.fromkeys(words[name] for name in sorted(expected) if name in words)
        if _VALUE in names:  # which a bracket, a name or a minus begins too
            names = dict.fromkeys(name for name in names if name not in ("`(`", "a name", "an operator"))
        return errors.Unexpected(span, found, tuple(names)[:6], _hint(line, text) or _hint_of_row(line, found))


def _meant(text: str) -> str | None:
    """The header word that a line at the left margin begins with, misspelt."""
    first = re.match(r"\w+", text)
    near = get_close_matches(first[0], [*HEADER_WORDS, "block"], 1, 0.75) if first else []
    return near[0] if near else None


def _hint(line: LogicalLine, text: str) -> str | None:
    """The form that the line has, where it is one of the headers."""
    forms = {
        "network": "network NAME(width = 1.0, resolution = 224)",
        "input": "input NAME: resolution x resolution x 3",
        "channels": "channels c * width  round 8 keep 0.9  last >= 1280",
        "defaults": "defaults padding symmetric  epsilon 1e-5  activation relu6",
        "let": "let NAME = EXPRESSION",
        "use": "use NAME(width = width) on image as OTHER",
        "body": "body NAME from EXPRESSION",
        "output": _named_output(text),
        "block": "block NAME(t, c, s):",
        "return": "return x -> conv 3x3 / s c -> norm -> act",
        "export": "export NAME = EXPRESSION",
    }
    word = re.match(r"\w*", text)
    form = forms.get(word[0]) if word else None
    if form is None and line.kind != "statement" and (meant := _meant(text)):
        return f"did you mean the line `{forms[meant]}`?"
    return f"the form is `{form}`" if form else None


def _named_output(text: str) -> str:
    """The form of an output line, with what the line would give a name to: `output body` lacks it."""
    value = re.fullmatch(r"output\s*=?\s*([^\W\d][^=]*)", text)
    return f"output NAME = {value[1].strip() if value else 'EXPRESSION'}"


def _hint_of_row(line: LogicalLine, found: str) -> str | None:
    """What a sign in a row that rows do not know was meant for."""
    if line.kind == "row" and found == "`=`":
        return "a name is defined by `let NAME = EXPRESSION`, in a block by an indented line"
    if line.kind == "row" and found in ("`+`", "`%`"):
        return "an expression stands in brackets: `(k + 16)`"
    return None


def _defined(text: str) -> tuple[str, ...]:
    """The names that an unreadable line would have defined, as far as its beginning tells."""
    match = re.match(r"(?:let|input|output|body|network)\s+([^\W\d]\w*)", text)
    if match:
        return (match[1],)
    match = re.match(r"block\s+([^(:]*)", text)
    if match:
        return tuple(word.strip().strip('"') for word in match[1].split(","))
    match = re.search(r"\bas\s+(\w+)\s*$", text)
    return (match[1],) if match else ()
