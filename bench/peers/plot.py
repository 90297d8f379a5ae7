"""The picture of the README, from the results: how much of the FMA peak every engine reaches on one thread."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from bench.peers.table import NAMES, Results, caption, compared, versions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, RULE = "#1f2328", "#59636e", "#d1d9e0"
BAR, OWN = "#a9d0f5", "#0b4f8a"
# Colours that people who see red and green alike can tell apart, and shapes for those who see none.
MARKS = {
    "litert": ("o", "#d55e00", 31),
    "openvino": ("s", "#009e73", 25),
    "onnxruntime": ("D", "#b0468a", 20),
    "ncnn": ("^", "#1f2328", 30),
}
"""Engine -> shape, colour, and size (square points)."""
TITLE = "How much of the processor’s FMA peak the engines reach on one thread"
WIDTH, ROW, HEAD, FOOT, LINE = 850, 39, 104, 66, 16
"""Pixels: the width of a README, and the height of a network, of what is above them all, of the scale below them, and
of a line of notes."""
MARGIN, LEFT, RIGHT = 16, 176, 130
"""Pixels: at the side of texts, for the names of the networks, and for the column behind the bars."""
COLUMN = 68
"""Pixels from the right side to the middle of that column."""
BAR_HEIGHT = 0.8
"""Of a row."""
CHARACTERS = 130
"""Of a line of notes."""
NOTE = (
    "Beyond 100 %: the engine multiplies less than the network counts "
    "(Winograd’s algorithm, or taps that fall on padding left out)."
)


@dataclass(frozen=True)
class Row:
    """A network in the picture, on one thread."""

    title: str
    shares: Mapping[str, float]
    """Engine -> percent of the FMA peak; without the engines that have none, but always with mncc."""
    ahead: float | None
    """The time of the fastest other engine by mncc's: above 1 mncc is faster. None where there is no other."""


def rows(results: Results, titles: Mapping[str, str]) -> list[Row]:
    """A row each of those networks of the titles (name of the network -> what people read) that have results with a
    share of the peak for mncc on one thread, the one where mncc is furthest ahead first."""
    found = []
    for name, title in titles.items():
        timings = compared(results).get(name, {}).get("results", [])
        timings = [t for t in timings if t["threads"] == 1 and t["percent_of_fma_peak"] is not None]
        shares = {t["engine"]: t["percent_of_fma_peak"] for t in timings}
        times = {t["engine"]: t["median_ms"] for t in timings}
        if "mncc" in times:
            own = times.pop("mncc")
            found.append(Row(title, shares, min(times.values()) / own if times else None))
    return sorted(found, key=lambda row: -(row.ahead or 0))


def picture(results: Results, titles: Mapping[str, str]) -> str | None:
    """The rows of these networks as the text of an SVG file, the same for the same results: mncc's share as a bar, the
    others' as marks, below them what was measured, and where. None where there is no row.

    Raises ImportError where matplotlib is missing.
    """
    drawn = rows(results, titles)
    if not drawn:
        return None
    shown = {name: results[name] for name in titles if name in results}
    known = versions(shown)
    labels = {engine: f"{name} {known.get(engine, '')}".strip() for engine, name in {"mncc": "mncc", **NAMES}.items()}
    return _draw(drawn, labels, [NOTE, caption(compared(shown))])


def _draw(drawn: Sequence[Row], labels: Mapping[str, str], notes: Sequence[str]) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    lines = [line for note in notes for line in wrap(note, CHARACTERS)]
    foot = FOOT + LINE * len(lines)
    height = HEAD + ROW * len(drawn) + foot
    # Text stays text, in a font that matplotlib brings along, so that positions are the same everywhere; where a reader
    # has no such font, the browser's takes its place. Names of parts come from the salt and not from chance.
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "mncc",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "text.color": INK,
    }
    with rc_context(settings):
        figure = Figure(figsize=(WIDTH / 96, height / 96), facecolor="white")
        box = (LEFT / WIDTH, foot / height, 1 - (LEFT + RIGHT) / WIDTH, ROW * len(drawn) / height)
        axes = figure.add_axes(box)
        _frame(axes, drawn)
        _engines(axes, drawn)
        _numbers(figure, axes, drawn)
        _head(figure, height, drawn, labels)
        for line, text in enumerate(lines):
            y = 1 - (height - foot + FOOT + LINE * line) / height
            figure.text(MARGIN / WIDTH, y, text, va="baseline", size=7.5, color=FAINT)
        file = io.StringIO()
        # A date or matplotlib's version would make the same picture a different file.
        metadata = {"Title": TITLE, "Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(file, format="svg", metadata=metadata)
    return file.getvalue()


def _frame(axes: Axes, drawn: Sequence[Row]) -> None:
    """The scale, the names of the networks, and the peak."""
    last = max(max(row.shares.values()) for row in drawn)
    axes.set_xlim(0, max(110, last + 4))
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.set_xticks(ticks := range(0, int(last) + 1 if last > 100 else 101, 25), [f"{tick} %" for tick in ticks])
    axes.set_yticks(range(len(drawn)), [row.title for row in drawn])
    axes.tick_params(axis="y", length=0, labelsize=9.5, labelcolor=INK)
    axes.tick_params(axis="x", length=0, labelsize=8.5, labelcolor=FAINT)
    axes.set_xlabel("share of the FMA peak = 2 × multiply-adds of the network / time / peak", size=8.5, color=FAINT)
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.axvline(100, color=INK, linewidth=1.1, zorder=2.5)
    axes.annotate(
        "FMA peak",
        (100, 1),
        (0, 4),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="center",
        size=8.5,
    )


def _engines(axes: Axes, drawn: Sequence[Row]) -> None:
    """mncc's bars, and the marks of the others, an engine's at the same height of every bar."""
    own = [row.shares["mncc"] for row in drawn]
    axes.barh(range(len(drawn)), own, height=BAR_HEIGHT, color=BAR, zorder=2)
    tops, feet = ([place + side * BAR_HEIGHT / 2 for place in range(len(drawn))] for side in (-1, 1))
    axes.vlines(own, tops, feet, color=OWN, linewidth=2.6, zorder=3)
    for lane, (engine, (shape, colour, size)) in enumerate(MARKS.items()):
        height = BAR_HEIGHT * ((lane + 0.5) / len(MARKS) - 0.5)
        points = [(row.shares[engine], place + height) for place, row in enumerate(drawn) if engine in row.shares]
        x, y = [x for x, _ in points], [y for _, y in points]
        axes.scatter(x, y, size, colour, marker=shape, edgecolors="white", linewidths=0.6, zorder=4)


def _numbers(figure: Figure, axes: Axes, drawn: Sequence[Row]) -> None:
    """mncc's shares in its bars, and the column of how far it is ahead."""
    from matplotlib.transforms import blended_transform_factory

    where = blended_transform_factory(figure.transFigure, axes.transData)
    for place, row in enumerate(drawn):
        axes.text(1.5, place, f"{row.shares['mncc']:.0f} %", va="center", color=OWN, weight="bold")
        if row.ahead is not None:
            text = f"{row.ahead:.2f} ×"
            axes.text(1 - COLUMN / WIDTH, place, text, transform=where, ha="center", va="center", weight="bold")


def _head(figure: Figure, height: int, drawn: Sequence[Row], labels: Mapping[str, str]) -> None:
    """The title, the legend, and what the last column is."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure.text(MARGIN / WIDTH, 1 - 26 / height, TITLE, size=11.5, weight="bold", va="baseline")
    present = {engine for row in drawn for engine in row.shares}
    handles: list[Patch | Line2D] = [Patch(facecolor=BAR, label=labels["mncc"])]
    for engine, (shape, colour, size) in MARKS.items():
        if engine in present:
            mark = Line2D([], [], marker=shape, color=colour, markersize=size**0.5, linestyle="", label=labels[engine])
            handles.append(mark)
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(MARGIN / WIDTH, 1 - 38 / height),
        ncols=len(handles),
        frameon=False,
        handletextpad=0.5,
        columnspacing=1.6,
        borderaxespad=0,
        borderpad=0,
        handlelength=1.6,
    )
    if any(row.ahead is not None for row in drawn):
        figure.text(
            1 - COLUMN / WIDTH,
            1 - (HEAD - 6) / height,
            "times as fast as\nthe fastest other",
            size=8,
            ha="center",
            color=FAINT,
        )
