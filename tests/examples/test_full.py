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
