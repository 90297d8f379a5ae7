"""The self test's numbers, as Python makes them; statuses.c shows that C makes the same."""

from __future__ import annotations

import numpy as np
import pytest

from mncc.library.selftest import make_goldens, selftest_input

FIRST = ["-0x1.758ec00000000p-2", "0x1.3259e80000000p-2", "-0x1.c8a53c0000000p-1", "-0x1.bdfc000000000p-3"]


def test_input_is_fixed() -> None:
    first = selftest_input(0, 4)
    assert first.dtype == np.float32
    assert [float(x).hex() for x in first] == FIRST
    assert np.array_equal(selftest_input(0, 1000)[:4], first)


def test_input_is_spread_over_its_range() -> None:
    many = selftest_input(3, 100_000)
    assert many.min() >= -1 and many.max() < 1
    assert abs(float(many.mean())) < 0.01 and abs(float(many.std()) - 3**-0.5) < 0.01
    assert not np.array_equal(many[:100], selftest_input(2, 100))


def test_goldens_hold_the_largest_and_the_ends() -> None:
    output = np.linspace(0, 1, 10_000).reshape(1, 100, 100)
    output[0, 7, 7] = -5
    (golden,) = make_goldens([output])
    assert golden.indices[0] == 0 and golden.indices[-1] == 9_999 and 707 in golden.indices
    assert list(golden.indices) == sorted(set(golden.indices)) and len(golden.indices) == 17
    assert golden.values[golden.indices.index(707)] == -5
    assert golden.tolerance == pytest.approx(5e-4)
    assert len(make_goldens([np.ones(3)])[0].indices) == 3


def test_goldens_must_be_finite() -> None:
    with pytest.raises(ValueError, match="output 1"):
        make_goldens([np.ones(3), np.array([1.0, np.nan])])
