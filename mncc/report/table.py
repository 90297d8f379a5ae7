"""Tables in the one style that all commands share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group


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
