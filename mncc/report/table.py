"""Tables in the one style that all commands share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group


BETWEEN, AROUND = 3, 2
"""Characters between two columns, and beside the outer ones."""
BROKEN = 18
"""Characters that a column has at least whose lines may be broken."""


def fitting(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, spare: Iterable[str]
) -> tuple[list[str], list[list[str]]]:
    """Columns and rows for a terminal of so many characters: without those of the columns `spare`, in their order, that
    would cut others short."""
    left = list(range(len(columns)))
    for name in spare:
        if _width(columns, rows, left) <= width:
            break
        left.remove(columns.index(name))
    return [columns[index] for index in left], [[row[index] for index in left] for row in rows]


def _width(columns: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> int:
    whole = (len(left) - 1) * BETWEEN + AROUND
    for index in left:
        wide = max(len(columns[index].lstrip(">~")), *(len(row[index]) for row in rows), 0)
        whole += min(wide, BROKEN) if columns[index].startswith("~") else wide
    return whole


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[str]], total: Sequence[str] = ()) -> Group:
    """A title line and a table, without markup in its cells.

    A column whose name begins with `>` is aligned to the right, one that begins with `~` may be broken over lines where
    the terminal is narrow; all others stay whole.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, show_footer=bool(total), pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(
            Text(column.lstrip(">~")),
            justify="right" if column.startswith(">") else "left",
            no_wrap=not column.startswith("~"),
            footer=Text(total[index]) if total else "",
        )
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return Group(made) if title is None else Group(Text(title, style="bold"), made)
