"""The FMA peak meter compiles, and its numbers are in a range that a core can have."""

from __future__ import annotations

import pytest

from mncc.devices.peak import PeakMeter
from mncc.language.diagnostic import OutsideError


def test_samples() -> None:
    with PeakMeter() as meter:
        one, two = meter.sample(1, 5), meter.sample(2, 5)
    assert one is not None and 1 < one < 2000
    assert two is not None and 1 < two < 4000


def test_impossible_threads_are_an_error() -> None:
    with PeakMeter() as meter, pytest.raises(OutsideError):
        meter.sample(100_000, 1)


def test_no_compiler() -> None:
    with pytest.raises(OutsideError), PeakMeter(cc="no-such-compiler"):
        pass
