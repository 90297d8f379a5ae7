"""Every example at the size that was published, verified kernel by kernel as `mncc verify` does."""

from __future__ import annotations

import pytest

from mncc.report.progress import Progress
from mncc.verbs.job import prepare
from mncc.verbs.verify import verify
from tests.examples.facts import FULL, Run

pytestmark = pytest.mark.full


@pytest.mark.parametrize("run", FULL, ids=str)
def test_published_size(run: Run) -> None:
    report = verify(prepare(str(run.path), run.texts), [], Progress())
    assert not report.failed, report.verdict()


@pytest.mark.parametrize(
    "name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v1", "shufflenet_v2", "squeezenet"]
)
def test_weights_stored_as_float16(name: str) -> None:
    report = verify(prepare(f"examples/{name}.mn", {}, weights_dtype="float16"), [], Progress())
    assert not report.failed, report.verdict()
    assert all(output.largest < 1e-2 for output in report.rounded), report.verdict()
