"""Functions in a process of their own: what they answer, and every way in which they do not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from mncc.devices.helper import Helper, HelperError


def make(base: int) -> Callable[..., Any]:
    if base < 0:
        raise ValueError("no such base")

    def asked(what: str, number: int = 0) -> object:
        if what == "raise":
            raise OSError(f"raised {number}")
        if what == "exit":
            os._exit(number)
        if what == "sleep":
            time.sleep(1e6)
        return None if what == "nothing" else base + number

    return asked


def test_a_process_answers_until_it_ends() -> None:
    helper = Helper(make, 40)
    assert helper.call("add", 2, seconds=20.0) == 42
    assert helper.call("nothing", seconds=20.0) is None
    with pytest.raises(HelperError, match="OSError: raised 7"):
        helper.call("raise", 7, seconds=20.0)
    assert helper.lives
    with pytest.raises(HelperError, match="ended with status 3"):
        helper.call("exit", 3, seconds=20.0)
    assert not helper.lives
    with pytest.raises(HelperError, match="ended with status 3"):
        helper.call("add", 1, seconds=20.0)
    helper.close()


def test_a_process_that_does_not_answer_is_ended() -> None:
    helper = Helper(make, 1)
    with pytest.raises(HelperError, match="did not end within 0 s"):
        helper.call("sleep", seconds=0.2)
    assert not helper.lives


def test_what_cannot_be_made_is_told() -> None:
    helper = Helper(make, -1)
    with pytest.raises(HelperError, match="no such base"):
        helper.call("add", 1, seconds=20.0)
    helper.close()
    assert not helper.lives
