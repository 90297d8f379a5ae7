"""What a build left, and how large it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mncc.report.numbers import plural, size


@dataclass(frozen=True)
class BuildReport:
    """The answer of `mncc build`. `workspace_bytes` is for one thread, or what else `workspace_of` says."""

    network: str
    target: str
    directory: Path
    files: tuple[tuple[str, int], ...]
    """Names and bytes, in order of the names."""
    kernels: int
    weights: str
    """Where they came from, and in whose naming."""
    weights_bytes: int
    workspace_bytes: int
    seconds: float
    workspace_of: str = "one thread"
    tuned: int = 0
    """Kernels whose tiles are from a tuned table."""
    counted: int = 0
    """Of these, the ones whose instructions were counted and not their time."""
    note: str = ""
    """What else is to be known of it."""

    def text(self) -> str:
        """The folder, its files with sizes, and one line on what is inside."""
        width = max(len(name) for name, _ in self.files)
        lines = [f"{self.directory}: {self.network} for {self.target}, built in {self.seconds:.1f} s"]
        lines += [f"  {name:{width}}  {size(bytes)}" for name, bytes in self.files]
        tuned = f", {self.tuned} with tiles from a tuned table" if self.tuned else ""
        tuned += f" ({self.counted} of them tuned by instructions, not by time)" if self.counted else ""
        lines.append(
            f"{plural(self.kernels, 'kernel')}{tuned}, {size(self.weights_bytes)} of weights from {self.weights}, "
            f"workspace {size(self.workspace_bytes)} for {self.workspace_of}"
        )
        return "\n".join([*lines, self.note] if self.note else lines)
