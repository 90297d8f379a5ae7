"""What a network says about pictures."""

from __future__ import annotations

from dataclasses import dataclass

from mncc.report.numbers import plural


@dataclass(frozen=True)
class Guess:
    """One label of an output and its probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class PictureAnswer:
    """The best labels of one output for one picture, best first; `text` is what is said of an output that has none."""

    picture: str
    output: str
    guesses: tuple[Guess, ...]
    text: str = ""


@dataclass(frozen=True)
class RunReport:
    """The answer of `mncc run`. `milliseconds` is the median CPU time of a picture on one thread, of `device`
    ("": this machine)."""

    network: str
    answers: tuple[PictureAnswer, ...]
    milliseconds: float
    device: str = ""

    def text(self) -> str:
        """Every picture with its labels; the last lines hold the best label of each."""
        lines: list[str] = []
        outputs = {a.output for a in self.answers}
        for answer in self.answers:
            lines.append(answer.picture if len(outputs) == 1 else f"{answer.picture}, output {answer.output}")
            lines += [f"  {guess.probability:6.3f}  {guess.label}" for guess in answer.guesses]
            if answer.text:
                lines.append(f"  {answer.text}")
        pictures = plural(len(self.answers) // max(1, len(outputs)), "picture")
        where = {"": "", "qemu": " of the emulator"}.get(self.device, f" of {self.device}")
        lines.append(f"{self.network}: {pictures}, {self.milliseconds:.2f} ms each on one thread{where}")
        lines += [f"{a.picture}: {a.guesses[0].label}" for a in self.answers if a.guesses]
        return "\n".join(lines)
