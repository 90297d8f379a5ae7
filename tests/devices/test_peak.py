"""The FMA peak meter compiles, and its numbers are in a range that a core can have."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mncc.devices.peak import SOURCE, PeakMeter
from mncc.language.diagnostic import OutsideError


def test_samples() -> None:
    with PeakMeter() as meter:
        one, two = meter.sample(1, 5), meter.sample(2, 5)
    assert one is not None and 1 < one < 2000
    assert two is not None and 1 < two < 4000


def test_impossible_threads_are_an_error() -> None:
    with PeakMeter() as meter, pytest.raises(OutsideError):
        meter.sample(100_000, 1)


CLOCK_COUNTER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>
static int calls;
int clock_gettime(clockid_t clock, struct timespec *t) {
    calls++;
    return ((int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime"))(clock, t);
}
__attribute__((destructor)) static void told(void) { fprintf(stderr, "%d", calls); }
"""


def test_asks_the_clock_seldom(tmp_path: Path) -> None:
    """A call for every few microseconds of work made a single thread's peak two percent too low, and every share of it
    too high."""
    meter, counter = str(tmp_path / "fma_peak"), str(tmp_path / "counter.so")
    (tmp_path / "counter.c").write_text(CLOCK_COUNTER)
    subprocess.run(["cc", "-O2", "-pthread", str(SOURCE), "-o", meter], check=True)
    subprocess.run(["cc", "-shared", "-fPIC", str(tmp_path / "counter.c"), "-o", counter, "-ldl"], check=True)
    counted = {**os.environ, "LD_PRELOAD": counter}
    done = subprocess.run([meter, "1", "100"], env=counted, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and 2 < int(done.stderr) < 200


def test_no_compiler() -> None:
    with pytest.raises(OutsideError), PeakMeter(cc="no-such-compiler"):
        pass
