"""An interrupt during an import waits for its end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mncc.report.failures import INTERRUPTED, guarded
from mncc.report.interrupts import interruptible

MODULE = """
import os, signal, time
os.kill(os.getpid(), signal.SIGINT)
time.sleep(0.01)
done = True
"""


@pytest.fixture(autouse=True)
def attended() -> Iterator[None]:
    """Interrupts as in a program that a person started: in the background, shells have them ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_import_is_not_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "interrupts_itself.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt), interruptible():
        __import__("interrupts_itself")
        signal.sigtimedwait([], 5)
    assert sys.modules.pop("interrupts_itself").done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_everything_else_is_interrupted_at_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interruptible():
        assert signal.getsignal(number) is not before, "pytest leaves it to us"
        os.kill(os.getpid(), number)
        pytest.fail("the signal came late")
    assert signal.getsignal(number) is before


def test_an_interrupt_that_another_language_renamed_is_one() -> None:
    """As TVM does with what Python functions raise that its C++ calls."""

    def called() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt as error:
            raise RuntimeError.with_traceback(RuntimeError(""), error.__traceback__) from None

    with interruptible():
        assert guarded(called) == INTERRUPTED


def test_a_handler_of_the_caller_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
