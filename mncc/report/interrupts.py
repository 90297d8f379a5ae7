"""Ctrl-C at any moment: torch and TVM end the process where it hits them while they load, so it waits for that."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_PAUSE = 0.05
"""Seconds until an interrupt that came during an import is sent again."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, SIGINT raises KeyboardInterrupt as ever, but during an import only after it.

    C++ that an import runs cannot pass a KeyboardInterrupt on (std::terminate). Outside of the main thread, and where
    the caller handles SIGINT in its own way, nothing changes.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
