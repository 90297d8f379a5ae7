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
_START_SECONDS, _CLOSE_SECONDS = 300.0, 5.0


class HelperError(Exception):
    """What the function raised, with the end of its trace; or that its process has ended, or did not answer in time."""


class Helper:
    """The process. `make(*given)` is called in it once and answers the function; all of them, and what is passed, go
    there by pickling, functions by their names. One call at a time; any thread may call."""

    def __init__(self, make: Callable[..., Callable[..., Any]], *given: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._lock, self._started = threading.Lock(), False
        self._process = context.Process(target=_serve, args=(there, make, given), daemon=True)
        self._process.start()
        there.close()

    @property
    def lives(self) -> bool:
        """Whether it can be called."""
        return self._process.is_alive()

    def call(self, *arguments: object, seconds: float) -> Any:
        """What the function answers. Raises HelperError; after `seconds` without an answer, to which the start of the
        process does not count, it is ended."""
        try:
            if not self._started:
                self._received(_START_SECONDS)
                self._started = True
            self._here.send(arguments)
            return self._received(seconds)
        except (EOFError, OSError) as error:
            self._process.join()
            raise HelperError(f"its process {_how_it_ended(self._process.exitcode or 0)}") from error

    def _received(self, seconds: float) -> Any:
        if not self._here.poll(seconds):
            self.end()
            raise HelperError(f"it did not end within {seconds:.0f} s")
        raised, answer = self._here.recv()
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
    with contextlib.suppress(EOFError, OSError):  # the other end is gone
        raised, function = _tried(make, given)
        there.send((raised, function if raised else None))
        while not raised:
            there.send(_tried(function, there.recv()))


def _tried(function: Callable[..., Any], arguments: tuple[object, ...]) -> tuple[bool, Any]:
    """Whether a function raised, and what it answers, or the end of the trace."""
    try:
        return False, function(*arguments)
    except Exception:
        return True, "\n".join(traceback.format_exc().strip().splitlines()[-LAST_LINES:])
