"""A function that is called in a process of its own, which lives on between calls: it may load what takes seconds,
crash, or run forever, and costs its caller one call."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

LAST_LINES = 12
"""Of a trace."""
_PR_SET_PDEATHSIG = 1
_CLOSE_SECONDS = 5.0


class HelperError(Exception):
    """What the function raised, with the end of its trace; or that its process has ended, or did not answer in time."""


class Helper:
    """The process. `make(*given)` is called in it once and answers the function; all of them, and what is passed, go
    there by pickling, functions by their names. One call at a time; any thread may call."""

    def __init__(self, make: Callable[..., Callable[..., Any]], *given: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._lock = threading.Lock()
        self._process = context.Process(target=_serve, args=(there, make, given), daemon=True)
        self._process.start()
        there.close()

    @property
    def lives(self) -> bool:
        """Whether it can be called."""
        return self._process.is_alive()

    def call(self, *arguments: object, seconds: float) -> Any:
        """What the function answers. Raises HelperError; after `seconds` without an answer, the process is ended."""
        try:
            self._here.send(arguments)
            if not self._here.poll(seconds):
                self.end()
                raise HelperError(f"it did not end within {seconds:.0f} s")
            raised, answer = self._here.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise HelperError(f"its process {_how_it_ended(self._process.exitcode or 0)}") from error
        if raised:
            raise HelperError(answer)
        return answer

    def close(self) -> None:
        """Lets the process come to its end."""
        self._here.close()
        self._process.join(_CLOSE_SECONDS)
        self.end()

    def end(self) -> None:
        """Ends the process, whatever it does."""
        with self._lock:
            self._process.kill()
            self._process.join()


def _how_it_ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _serve(there: Connection, make: Callable[..., Callable[..., Any]], given: tuple[object, ...]) -> None:
    """The process: interrupts are for its parent, with which it ends, also where that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # Linux
    function: Callable[..., Any] | None = None
    while True:
        try:
            arguments = there.recv()
        except (EOFError, OSError):
            return
        try:
            function = function or make(*given)
            there.send((False, function(*arguments)))
        except Exception:
            there.send((True, "\n".join(traceback.format_exc().strip().splitlines()[-LAST_LINES:])))
