"""Compiled networks, not toys: they stay in their buffers, and their bits do not depend on threads or their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mncc.devices.guarded import check_guarded
from mncc.devices.loaded import Library
from mncc.library.write import write_library
from mncc.verbs.compile import compile_network
from mncc.verbs.job import prepare

ROOT = Path(__file__).parents[2]
MOBILENET = "examples/mobilenet_v2.mn"


@pytest.mark.parametrize(
    ("source", "settings", "threads"),
    [
        ("tests/devices/small.mn", {"batch": "3"}, (1, 2, 3, 7)),
        pytest.param(MOBILENET, {"resolution": "96", "batch": "2"}, (1, 2, 3, 7), marks=pytest.mark.full),
        pytest.param(MOBILENET, {}, (1, 2, 3), marks=pytest.mark.full),
    ],
)
def test_network(source: str, settings: dict[str, str], threads: tuple[int, ...], tmp_path: Path) -> None:
    job = prepare(ROOT / source, settings)
    spec, _ = compile_network(job.network, job.target, job.weights, job.name)
    write_library(spec, tmp_path / "out", probe=True)
    check_guarded(tmp_path / "out", threads)
    library = Library(tmp_path / "out")
    rng = np.random.default_rng(5)
    inputs = [rng.standard_normal(t.shape).astype(np.float32) for t in library.inputs]
    expected = [output.tobytes() for output in library.run(*inputs)]
    for count in threads:
        library.selftest(count)
        assert [output.tobytes() for output in library.run(*inputs, threads=count)] == expected
    assert len(library.profile(*inputs, repeats=1)) == len(spec.kernels)
