"""The progress line: on standard error, and only for what takes longer than a second."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from mncc.report.console import err, say

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

PATIENCE = 1.0
"""Seconds of silence before the line appears."""
_PLAIN_INTERVAL = 15.0
"""Seconds between lines where standard error is not a terminal."""


class Progress:
    """A context to call with a text and, where it is known, the done fraction: `progress("compiling", 0.4)`.

    On a terminal one line is redrawn and removed at the end; elsewhere a few plain lines are printed.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._began = self._last_line = time.monotonic()
        self._text = "reading the network and its weights"
        self._fraction: float | None = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._said: str | None = None

    def __enter__(self) -> Progress:
        self._timer = threading.Timer(self._patience, self._appear)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._timer = None
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def __call__(self, text: str, fraction: float | None = None) -> None:
        """Says what is being done, and how much of it is done (0 to 1) where that is known."""
        with self._lock:
            self._text, self._fraction = text, fraction
            if self._bar is not None:
                self._redraw()
            elif not err().is_terminal:
                self._plain()

    def _appear(self) -> None:
        with self._lock:
            if self._timer is None:
                return
            if not err().is_terminal:
                self._plain()
                return
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            text = TextColumn("{task.description}", markup=False)
            columns = (SpinnerColumn(), text, BarColumn(), TimeElapsedColumn())
            # Redrawn when something is said, not by a thread, whose CPU time would be measured with a network's.
            self._bar = Bar(*columns, console=err(), transient=True, auto_refresh=False)
            self._task = self._bar.add_task(self._text, total=None)
            self._bar.start()
            self._redraw()

    def _redraw(self) -> None:
        assert self._bar is not None and self._task is not None
        total = None if self._fraction is None else 1.0
        done = self._fraction or 0.0
        self._bar.update(self._task, description=self._text, total=total, completed=done, refresh=True)

    def _plain(self) -> None:
        now = time.monotonic()
        if now - self._began < self._patience or self._text == self._said:
            return
        if self._said is not None and now - self._last_line < _PLAIN_INTERVAL:
            return
        self._last_line, self._said = now, self._text
        say(f"{self._text} ... {self._fraction:.0%}" if self._fraction else f"{self._text} ...")
