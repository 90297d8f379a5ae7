"""Ctrl-C, or the end of the terminal or of patience, at any moment: torch and TVM end the process where a signal hits
them while they load, so it waits for that."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_PAUSE = 0.05
"""Seconds until an interrupt that came during an import is sent again."""


_DEFAULTS: dict[signal.Signals, Callable[[int, FrameType | None], object] | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, SIGINT raises KeyboardInterrupt as ever, but during an import only after it; so do SIGTERM and SIGHUP, so
    that what was begun on a device is put away.

    C++ that an import runs cannot pass a KeyboardInterrupt on (std::terminate). Outside of the main thread, and where
    the caller handles a signal in its own way, nothing changes.
    """
    ours = threading.current_thread() is threading.main_thread()
    taken = [number for number, default in _DEFAULTS.items() if ours and signal.getsignal(number) is default]
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, _DEFAULTS[number])


def comes_from_interrupt(error: BaseException) -> bool:
    """True where `error` is what C++ made of a KeyboardInterrupt that hit Python code which it had called: TVM raises a
    RuntimeError in its place, with its traceback."""
    return any(f.f_code.co_filename == __file__ for f, _ in traceback.walk_tb(error.__traceback__))


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _importing(frame):
        raise KeyboardInterrupt
    again = threading.Timer(_PAUSE, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
