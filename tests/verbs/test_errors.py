"""One golden an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mncc.language.diagnostic import Diagnostic
from mncc.verbs.errors import LabelCount, LabelsUnreadable, NotForPictures, PictureUnreadable

CASES: dict[str, Diagnostic] = {
    "picture": PictureUnreadable("cat.png", "it is not in a format that Pillow knows"),
    "labels": LabelsUnreadable("labels.txt", "No such file or directory"),
    "label_count": LabelCount("labels.txt", 999, "scores", 1001),
    "label_count_background": LabelCount("labels.txt", 1000, "scores", 1001),
    "not_for_pictures": NotForPictures("detector", ("image 320x320x3", "anchors 1917x4")),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, golden: Callable[[Path, str], None]) -> None:
    golden(Path(__file__).parent / "errors" / f"{name}.err", CASES[name].render() + "\n")
