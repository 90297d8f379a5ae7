"""Logical lines: what one statement or row occupies in the file, without its comments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from mncc.language import errors
from mncc.language.diagnostic import Diagnostic
from mncc.language.source import Source, Span

HEADER_WORDS = ("network", "input", "channels", "defaults", "let", "use", "body", "output")
MAX_NESTING = 40
"""Brackets inside brackets; generous for people, small enough that nothing recurses deeply."""
MAX_LINE = 8000
"""Characters of a logical line."""
MAX_CONTINUATION = 100
"""Physical lines that an open bracket can hold together."""

Kind = Literal["header", "block", "statement", "row"]

_HEADER = re.compile(rf"\s*(?:{'|'.join(HEADER_WORDS)})\b")
_HEADING = re.compile(r"\b(?:operator|type|layer)\b", re.IGNORECASE)
_STRAY = re.compile(r"\s*(?:return\b|export\b|([^\W\d]\w*)\s*=(?!=))")
_BEGINS = re.compile(r"(?:network|input|channels|defaults|let|use|output|block)\s+[\w\"]")
"""What begins a line of its own, even where a bracket before it was never closed."""
_CONTINUES = re.compile(r"\s*->")


@dataclass(frozen=True)
class LogicalLine:
    """Characters `start` to `end` of the cleaned text, and what kind of line they are."""

    kind: Kind
    start: int
    end: int
    indent: int
    broken: bool = False
    """It cannot be parsed, which is reported already."""


class Lines:
    """Splits a source; `lines`, `text` (comments blanked, offsets kept) and `found` (diagnostics) are the result."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: list[Diagnostic] = []
        self.lines: list[LogicalLine] = []
        self._physical: list[tuple[int, int]] = []
        self._unterminated: list[int] = []
        self.text = self._clean()
        self._split()

    def _clean(self) -> str:
        """The text with comments as blanks; notes the physical lines and unterminated strings."""
        parts = []
        offset = 0
        for line in self.source.text.split("\n"):
            code = self._without_comment(line, offset)
            self._physical.append((offset, offset + len(code.rstrip())))
            parts.append(code)
            offset += len(line) + 1
        return "\n".join(parts)

    def _without_comment(self, line: str, offset: int) -> str:
        if "#" not in line and '"' not in line:
            return line
        quote = -1
        for i, character in enumerate(line):
            if character == '"':
                quote = i if quote < 0 else -1
            elif character == "#" and quote < 0:
                if line[i + 1 : i + 2].isalpha() and _HEADING.search(line[:i]) and not re.search(r"[\d=:]", line[:i]):
                    # `#out` in a heading is the name of a column.
                    line = f"{line[:i]} {line[i + 1 :]}"
                    continue
                return line[:i] + " " * (len(line) - i)
        if quote >= 0:
            self.found.append(errors.UnterminatedString(Span(self.source, offset + quote, offset + len(line.rstrip()))))
            self._unterminated.append(offset + quote)
            return line
        return line

    def _split(self) -> None:
        block_indent: int | None = None
        number = 0
        while number < len(self._physical):
            start, end = self._physical[number]
            code = self.text[start:end]
            if not code.strip():
                number += 1
                continue
            indent = len(code) - len(code.lstrip())
            inside = block_indent is not None and indent > block_indent
            kind: Kind = "statement" if inside else _kind(code)
            last = number if kind == "row" else self._last_physical(number)
            start, end = start + indent, self._physical[last][1]
            number = last + 1
            if not inside:
                block_indent = indent if kind == "block" else None
            if self._acceptable(kind, start, end):
                self._add(kind, start, end, indent)
            else:
                self.lines.append(LogicalLine(kind, start, end, indent, broken=True))

    def _last_physical(self, first: int) -> int:
        """The last physical line that continues `first`, through open brackets or leading arrows."""
        depth, last, limit = 0, first, min(len(self._physical), first + MAX_CONTINUATION)
        closed = first
        for number in range(first, limit):
            start, end = self._physical[number]
            code = self.text[start:end]
            if number > first and ((depth <= 0 and not _CONTINUES.match(code)) or _BEGINS.match(code)):
                break
            depth += sum(code.count(c) for c in "([") - sum(code.count(c) for c in ")]")
            last = number
            if depth <= 0:
                closed = last
        return closed

    def _acceptable(self, kind: Kind, start: int, end: int) -> bool:
        """Whether the line can be parsed; reports nesting that is too deep and statements outside of blocks."""
        depth = 0
        if end - start > MAX_LINE:
            self.found.append(errors.LongLine(Span(self.source, start, start + 40), end - start, MAX_LINE))
            return False
        if any(start <= offset < end for offset in self._unterminated):
            return False
        for offset in range(start, end):
            character = self.text[offset]
            if character in "([":
                depth += 1
                if depth > MAX_NESTING:
                    self.found.append(errors.NestedTooDeeply(Span(self.source, offset, offset + 1), MAX_NESTING))
                    return False
            elif character in ")]":
                depth -= 1
        stray = _STRAY.match(self.text, start, end) if kind == "row" else None
        if stray:
            self.found.append(errors.StatementOutsideBlock(Span(self.source, start, stray.end()), stray[1]))
        return stray is None

    def _add(self, kind: Kind, start: int, end: int, indent: int) -> None:
        colon = self._block_colon(start, end) if kind == "block" else None
        if colon is None or not self.text[colon + 1 : end].strip():
            self.lines.append(LogicalLine(kind, start, end, indent))
            return
        self.lines.append(LogicalLine(kind, start, colon + 1, indent))
        rest = colon + 1 + len(self.text[colon + 1 : end]) - len(self.text[colon + 1 : end].lstrip())
        self.lines.append(LogicalLine("statement", rest, end, indent + 1))

    def _block_colon(self, start: int, end: int) -> int | None:
        """Where the header of a block ends: its first colon outside of brackets and quotes."""
        depth, quoted = 0, False
        for offset in range(start, end):
            character = self.text[offset]
            if character == '"':
                quoted = not quoted
            elif not quoted and character == ":" and depth == 0:
                return offset
            elif not quoted:
                depth += (character in "([") - (character in ")]")
        return None


def _kind(code: str) -> Kind:
    word = re.match(r"\s*(\w+)", code)
    if word and (word[1] == "block" or (code.endswith(":") and get_close_matches(word[1], ["block"], 1, 0.7))):
        return "block"
    if _HEADER.match(code) and not (_HEADING.search(code) and not re.search(r"[=:]", code)):
        return "header"
    return "row"
