"""Labels and probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mncc.language.diagnostic import DiagnosticError
from mncc.verbs.run import probabilities, read_labels


def test_softmax_is_applied_once() -> None:
    scores = np.array([[1.0, 3.0, 2.0]], np.float32)
    once = probabilities(scores, "logits")
    assert once.sum() == pytest.approx(1)
    np.testing.assert_allclose(probabilities(once, "probabilities"), once)


def test_softmax_of_large_scores_does_not_overflow() -> None:
    np.testing.assert_allclose(probabilities(np.array([1e4, 0.0], np.float32), "logits"), [1, 0])


def test_labels_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("\ufeffa cat\nein Käfer\n", encoding="utf-8")
    assert read_labels(path) == ["a cat", "ein Käfer"]


def test_labels_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    for path in (binary, tmp_path / "missing", tmp_path):
        with pytest.raises(DiagnosticError, match="these labels cannot be read"):
            read_labels(path)
