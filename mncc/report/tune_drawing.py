"""The drawing of a search: one HTML file that needs no other, with both pictures as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from mncc.report.numbers import percent
from mncc.report.tune import cost_text, network_ratio, state_text

if TYPE_CHECKING:
    from mncc.tuning.search import Trial
    from mncc.tuning.share import Standing
    from mncc.tuning.task import Unit

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 44
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0")
Points = Sequence[tuple[float, float]]

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 1360px; padding: 0 1em; color: #222 }}
svg {{ background: #fff; border: 1px solid #ddd; margin: 0 1em 1em 0; max-width: 100% }}
table {{ border-collapse: collapse }}
td, th {{ padding: .15em .8em; text-align: right; border-bottom: 1px solid #eee }}
td:first-child, th:first-child, td:last-child {{ text-align: left }}
</style></head><body>
<h1>{title}</h1>
<p>{summary}</p>
<h2>Best over time</h2>
{best}
<h2>Cost model against measured</h2>
<p>Both by the default tiles of the same kernel, before anything was learned: on the line the cost model is right.</p>
{model}
<h2>Kernels</h2>
<table><tr><th>kernel</th><th>times</th><th>default</th><th>best</th><th>best / default</th><th>roofline</th>
<th>trials</th><th>failed</th><th></th></tr>
{rows}
</table>
</body></html>
"""


def drawn(head: str, standings: Sequence[Standing], trials: Sequence[Trial], unit: Unit) -> str:
    """The whole page. `head` says what was tuned, `trials` are those of this run."""
    failed = sum(trial.outcome.failure is not None for trial in trials)
    ratio = network_ratio(standings)
    summary = f"{len(trials)} trials in this run, {failed} of them failed; "
    summary += f"the best tiles take {percent(1 - ratio)} less than the default ones."
    return _PAGE.format(
        title=escape(f"Tuning {head}"),
        summary=escape(summary),
        best=_best_over_time(standings, trials),
        model=_model_against_measured(trials),
        rows="\n".join(_row(standing, unit) for standing in standings),
    )


def _best_over_time(standings: Sequence[Standing], trials: Sequence[Trial]) -> str:
    """The best of each kernel by its default, over the trials of all; and of all together, as the network has them."""
    lines: dict[str, list[tuple[float, float]]] = {standing.task.name: [] for standing in standings}
    best: dict[str, tuple[float, float]] = {}
    whole: list[tuple[float, float]] = []
    for number, trial in enumerate(trials, start=1):
        name, cost, default = trial.standing.task.name, trial.outcome.cost, trial.standing.default
        if cost is None or default is None:
            continue
        so_far = min(cost, best.get(name, (default, default))[0])
        best[name] = (so_far, default)
        lines[name].append((number, so_far / default))
        weights = {standing.task.name: standing.task.times for standing in standings}
        total = sum(weights[n] * d for n, (_, d) in best.items())
        whole.append((number, sum(weights[n] * c for n, (c, _) in best.items()) / total))
    shown = [points for points in (*lines.values(), whole) if points]
    frame = _Frame(shown, "trials", "best / default")
    kernels = [frame.line(p, COLOURS[i % len(COLOURS)], 1.2, n) for i, (n, p) in enumerate(lines.items()) if p]
    return frame.svg([*kernels, frame.line(whole, "#222", 2.5, "all kernels together")] if whole else [])


def _model_against_measured(trials: Sequence[Trial]) -> str:
    """A point a candidate, on logarithmic axes."""
    names = list(dict.fromkeys(trial.standing.task.name for trial in trials))
    points: list[tuple[float, float, str]] = []
    for trial in trials:
        cost, default = trial.outcome.cost, trial.standing.default
        if cost is not None and default is not None and trial.predicted > 0:
            points.append((math.log2(trial.predicted), math.log2(cost / default), trial.standing.task.name))
    frame = _Frame([[(x, y) for x, y, _ in points]], "predicted / default, in powers of 2", "measured / default")
    marks = [frame.point(x, y, COLOURS[names.index(n) % len(COLOURS)], n) for x, y, n in points]
    diagonal = frame.line([(frame.low, frame.low), (frame.high, frame.high)], "#bbb", 1.0, "as predicted")
    return frame.svg([diagonal, *marks])


class _Frame:
    """The axes of a picture that has room for all `lines`."""

    def __init__(self, lines: Sequence[Points], across: str, up: str) -> None:
        points = [point for line in lines for point in line] or [(0.0, 0.0), (1.0, 1.0)]
        self._x, self._y = _range([x for x, _ in points]), _range([y for _, y in points])
        self._across, self._up = across, up
        self.low, self.high = max(self._x[0], self._y[0]), min(self._x[1], self._y[1])

    def _at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - self._y[0]) / (self._y[1] - self._y[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def line(self, points: Points, colour: str, width: float, title: str) -> str:
        """A line with a title, which shows where it is pointed at."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self._at(*point) for point in points))
        style = f'fill="none" stroke="{colour}" stroke-width="{width}"'
        return f'<polyline points="{places}" {style}><title>{escape(title)}</title></polyline>'

    def point(self, x: float, y: float, colour: str, title: str) -> str:
        """A dot with a title."""
        across, up = self._at(x, y)
        style = f'r="2.5" fill="{colour}" fill-opacity="0.6"'
        return f'<circle cx="{across:.1f}" cy="{up:.1f}" {style}><title>{escape(title)}</title></circle>'

    def svg(self, content: Sequence[str]) -> str:
        """The picture with its axes."""
        parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-size="12">']
        for value in _ticks(self._x):
            x, y = self._at(value, self._y[0])
            parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{value:g}</text>')
        for value in _ticks(self._y):
            x, y = self._at(self._x[0], value)
            parts.append(f'<line x1="{x:.1f}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>')
            parts.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        middle = f'x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle"'
        parts.append(f"<text {middle}>{escape(self._across)}</text>")
        turned = f'transform="rotate(-90 14 {HEIGHT / 2})" text-anchor="middle"'
        parts.append(f'<text x="14" y="{HEIGHT / 2}" {turned}>{escape(self._up)}</text>')
        return "\n".join([*parts, *content, "</svg>"])


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room


def _ticks(between: tuple[float, float]) -> list[float]:
    """Some four round numbers."""
    step = 10 ** math.floor(math.log10((between[1] - between[0]) / 2))
    wide = next(step * factor for factor in (1, 2, 5, 10) if (between[1] - between[0]) / (step * factor) <= 5)
    first = math.ceil(between[0] / wide)
    return [round(number * wide, 10) for number in range(first, math.floor(between[1] / wide) + 1)]


def _row(standing: Standing, unit: Unit) -> str:
    share = standing.bound / standing.best if standing.bound and standing.best else None
    costs = (cost_text(standing.default, unit), cost_text(standing.best, unit), f"{standing.ratio:.3f}")
    counts = (str(standing.spent), str(standing.failed))
    cells = (standing.task.name, str(standing.task.times), *costs, percent(share), *counts, state_text(standing))
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
