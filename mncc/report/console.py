"""The two streams: results on standard output, everything else on standard error. Colours only on a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, TextIO

from mncc.language.diagnostic import Diagnostic

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

# Tables take the width they need; a file or a pipe has none to offer.
_FILE_WIDTH = 240

_STYLES = (
    (r"^error(?=:)", "bold red"),
    (r"^warning(?=:)", "bold yellow"),
    (r"^(help|note)(?=:)", "bold cyan"),
    (r"^ *(-->|:::)", "bold blue"),
    (r"^ *\d* \|", "bold blue"),
    (r"(?<=\| ) *\^+.*$", "bold red"),
)


@cache
def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, emoji=False, width=None if stream.isatty() else _FILE_WIDTH)


def out() -> Console:
    """The console of standard output, where results go."""
    return _console(sys.stdout)


def err() -> Console:
    """The console of standard error, where diagnostics, warnings and progress go."""
    return _console(sys.stderr)


def show(*results: RenderableType) -> None:
    """Prints results (texts without markup, tables) on standard output."""
    for result in results:
        if isinstance(result, str):
            out().print(result, markup=False, soft_wrap=True)
        else:
            out().print(result)


def say(message: str, help: str | None = None) -> None:
    """Prints a message on standard error, with a help line where one is given."""
    err().print(_coloured(message if help is None else f"{message}\nhelp: {help}"), soft_wrap=True)


def say_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Prints diagnostics on standard error, an empty line between them."""
    say("\n\n".join(diagnostic.render() for diagnostic in diagnostics))


def warn(message: str) -> None:
    """Prints a warning on standard error."""
    say(f"warning: {message}")


def _coloured(text: str) -> Text:
    from rich.text import Text

    coloured = Text(text)
    for pattern, style in _STYLES:
        for match in re.finditer(pattern, text, re.MULTILINE):
            coloured.stylize(style, *match.span())
    return coloured
