"""What can be wrong with the files that verbs read beside the network. One frozen dataclass an error."""

from __future__ import annotations

from dataclasses import dataclass

from mncc.language.diagnostic import Diagnostic


@dataclass(frozen=True)
class PictureUnreadable(Diagnostic):
    """A file that is not a picture, or a damaged one."""

    path: str
    reason: str

    @property
    def title(self) -> str:
        """Names the file and what Pillow or the system said."""
        return f"{self.path}: this picture cannot be read: {self.reason}"

    @property
    def help(self) -> str:
        """What to give instead."""
        return "give a PNG, JPEG, PPM or any other file that Pillow opens"


@dataclass(frozen=True)
class LabelsUnreadable(Diagnostic):
    """A labels file that is missing or not text."""

    path: str
    reason: str

    @property
    def title(self) -> str:
        """Names the file and the reason."""
        return f"{self.path}: these labels cannot be read: {self.reason}"

    @property
    def help(self) -> str:
        """The form of a labels file."""
        return "give a text file in UTF-8 with a label a line, or leave --labels out to see numbers"


@dataclass(frozen=True)
class LabelCount(Diagnostic):
    """As many labels as the file has do not fit the output."""

    path: str
    found: int
    output: str
    expected: int

    @property
    def title(self) -> str:
        """Both counts."""
        return f"{self.path} has {self.found} labels, but the output {self.output} has {self.expected} classes"

    @property
    def help(self) -> str:
        """The usual cause."""
        if self.expected == self.found + 1:
            return "some networks count a class 0 for the background: put a line `background` first"
        return f"give a file of {self.expected} lines, or leave --labels out to see numbers"


@dataclass(frozen=True)
class NotForPictures(Diagnostic):
    """A network whose inputs are not one picture."""

    network: str
    inputs: tuple[str, ...]

    @property
    def title(self) -> str:
        """What the inputs are."""
        return f"{self.network} does not take one picture; its inputs are {', '.join(self.inputs)}"

    @property
    def help(self) -> str:
        """How else to run it."""
        return "from Python, mncc.build(...) gives a library that takes any arrays"
