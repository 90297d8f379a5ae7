"""What is wrong with an input, said so that a person knows what to type.

Every error is a frozen dataclass derived from `Diagnostic`, with the facts as its fields; title, labels and
help are computed from them. They are collected and raised together as one `DiagnosticError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from mncc.language.source import Span

WIDEST = 160
"""Longer source lines are shown in part, around their first label."""


@dataclass(frozen=True)
class Label:
    """A text under a span; the first label of a diagnostic is the place that it is reported at."""

    span: Span
    text: str = ""


@dataclass(frozen=True)
class Diagnostic:
    """Base of all errors in inputs (network files, weights, settings)."""

    severity: ClassVar[str] = "error"

    @property
    def title(self) -> str:
        """One line: what is wrong, with what was expected and what was found."""
        raise AssertionError(f"{type(self).__name__} has no title")

    @property
    def labels(self) -> tuple[Label, ...]:
        """The places it concerns, the one it is reported at first; none for errors outside of any source."""
        return ()

    @property
    def help(self) -> str | None:
        """What to type instead."""
        return None

    def render(self) -> str:
        """The diagnostic as plain text, in the form of docs/diagnostics.md; ends without a line break."""
        lines = [f"{self.severity}: {self.title}"]
        if self.labels:
            lines += _excerpt(self.labels)
        if self.help:
            lines.append(f"help: {self.help}")
        return "\n".join(lines)


class DiagnosticError(Exception):
    """The input is wrong: carries every diagnostic that was found (exit status 1)."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n\n".join(d.render() for d in self.diagnostics))


class OutsideError(Exception):
    """Something outside mncc failed: a tool is missing, a disk is full, a device was lost (exit status 3)."""

    def __init__(self, message: str, help: str | None = None) -> None:
        self.message, self.help = message, help
        super().__init__(message if help is None else f"{message}\nhelp: {help}")


def _excerpt(labels: tuple[Label, ...]) -> list[str]:
    """The arrow line and, per labelled line, the source line with carets below it."""
    first = labels[0].span
    by_line: dict[tuple[str, int], list[Label]] = {}
    for label in labels:
        by_line.setdefault((label.span.source.name, label.span.line), []).append(label)
    gutter = max(len(str(line)) for _, line in by_line)
    lines = [f"{' ' * gutter}--> {first}", f"{' ' * gutter} |"]
    current = first.source.name
    for (name, number), here in sorted(by_line.items(), key=lambda item: (item[0][0] != current, item[0])):
        if name != current:
            lines.append(f"{' ' * gutter}::: {here[0].span}")
            current = name
        text = here[0].span.source.line(number)
        first_column = min(label.span.column for label in here)
        skip = max(0, first_column - 40) if len(text) > WIDEST else 0
        text = text[skip : skip + WIDEST]
        lines.append(f"{number:>{gutter}} | {text.expandtabs(1)}".rstrip())
        for label in sorted(here, key=lambda item: item.span.column):
            column = min(label.span.column - skip, WIDEST)
            width = max(1, min(label.span.end - label.span.start, len(text) - column + 1))
            caret = " " * (column - 1) + "^" * width
            lines.append(f"{' ' * gutter} | {caret} {label.text}".rstrip())
    return lines
