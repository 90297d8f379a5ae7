"""`mncc run`: what a network says about pictures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mncc.devices.requests import NetworkRun, Repeat
from mncc.language.diagnostic import DiagnosticError
from mncc.report.failures import UsageError
from mncc.report.progress import Progress
from mncc.report.run import Guess, PictureAnswer, RunReport
from mncc.verbs.build import warn_of_weights
from mncc.verbs.errors import LabelCount, LabelsUnreadable
from mncc.verbs.job import GpuJob, Job
from mncc.verbs.loading import check_device, placed
from mncc.verbs.pictures import load_pictures, picture_input

if TYPE_CHECKING:
    from mncc.devices.device import Device
    from mncc.network.graph import Network, Output

_TIMED = Repeat(least=1, most=50, seconds=0.5)


def parse_pictures(*given: Sequence[Path] | None) -> list[Path]:
    """All pictures of a command line. Raises UsageError where there is none."""
    pictures = [path for paths in given for path in paths or ()]
    if not pictures:
        raise UsageError("there is no picture to look at", "for example --image cat.png")
    return pictures


def run(
    job: Job | GpuJob,
    pictures: Sequence[Path],
    labels: Path | None,
    top: int,
    progress: Progress,
    device: Device | None = None,
) -> RunReport:
    """Classifies every picture, one at least, on `device` (this machine if None). Raises DiagnosticError for a network
    that takes no picture, a picture or labels that cannot be read, and labels that do not fit; UsageError and
    OutsideError as the device does."""
    from mncc.devices.process import Local

    where = device or Local()
    check_device(job, where)
    network = job.network
    input = picture_input(network)
    arrays = load_pictures(pictures, input)
    names = read_labels(labels) if labels else None
    if names is not None:
        _check_labels(network, names, str(labels))
    warn_of_weights(job)
    batch = input.type.shape[0]
    blocks = [_block(arrays[first : first + batch], batch) for first in range(0, len(arrays), batch)]
    timed = NetworkRun(None, repeat=_TIMED)
    with placed(job, progress, where) as place:
        progress("running")
        *results, times = place.answers([*(NetworkRun((block,)) for block in blocks), timed])
    answers = [
        _answer(str(picture), output, result[number % batch], names, top)
        for number, picture in enumerate(pictures)
        for output, result in zip(network.outputs, results[number // batch].outputs, strict=True)
    ]
    milliseconds = 1e3 * statistics.median(times.seconds) / batch
    return RunReport(job.name, tuple(answers), milliseconds, "" if isinstance(where, Local) else where.name)


def _block(group: Sequence[np.ndarray], batch: int) -> np.ndarray:
    """Pictures as one batch. One that is not full is filled up; what is said about the filling is left out."""
    return np.stack([*group, *[np.zeros_like(group[0])] * (batch - len(group))])


def read_labels(path: Path) -> list[str]:
    """The lines of a labels file. Raises DiagnosticError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DiagnosticError([LabelsUnreadable(str(path), "it is not text in UTF-8")]) from error
    except OSError as error:
        raise DiagnosticError([LabelsUnreadable(str(path), error.strerror or str(error))]) from error
    return text.splitlines()


def probabilities(scores: np.ndarray, kind: str) -> np.ndarray:
    """`scores` as probabilities in float64; those that a softmax made already stay as they are."""
    scores = scores.astype(np.float64).ravel()
    if kind == "probabilities":
        return scores
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def classifies(network: Network, output: Output) -> bool:
    """True for an output of scores or probabilities: one number a class, no pixels."""
    shape = network.types[output.value].shape
    return output.kind in ("logits", "probabilities") and all(size == 1 for size in shape[1:-1])


def _check_labels(network: Network, names: Sequence[str], path: str) -> None:
    for output in network.outputs:
        classes = network.types[output.value].shape[-1]
        if classifies(network, output) and classes != len(names):
            raise DiagnosticError([LabelCount(path, len(names), output.name, classes)])


def _answer(picture: str, output: Output, result: np.ndarray, names: Sequence[str] | None, top: int) -> PictureAnswer:
    if output.kind not in ("logits", "probabilities") or result.size != result.shape[-1]:
        shape = "x".join(map(str, result.shape))
        text = f"{shape}, from {result.min():.4g} to {result.max():.4g}, mean {result.mean():.4g}"
        return PictureAnswer(picture, output.name, (), text)
    chances = probabilities(result, output.kind)
    best = np.argsort(-chances, kind="stable")[:top]
    guesses = tuple(Guess(names[i] if names else f"class {i}", float(chances[i])) for i in best)
    return PictureAnswer(picture, output.name, guesses)
