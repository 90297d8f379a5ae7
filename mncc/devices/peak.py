"""The FMA peak of this machine's cores, which every benchmark is compared with."""

from __future__ import annotations

import platform
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from mncc.language.diagnostic import OutsideError

SOURCE = Path(__file__).parent / "fma_peak.c"
_SECONDS_TO_GIVE_UP = 60


class PeakMeter:
    """A context that compiles the measuring program once and runs it as often as asked.

    Samples belong between those of what they are compared with, for clocks and neighbours change.
    """

    def __init__(self, cc: str | None = None) -> None:
        self._cc = cc
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> PeakMeter:
        from mncc.library.toolchain import find_toolchain

        toolchain = find_toolchain(f"{platform.machine()}-linux-gnu", self._cc)
        self._folder = tempfile.TemporaryDirectory(prefix="mncc-peak-")
        try:
            arguments = ["-O2", "-pthread", str(SOURCE), "-o", self._program]
            toolchain.compile("compiling the FMA peak meter", arguments, Path(self._folder.name))
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._folder is not None
        self._folder.cleanup()

    @property
    def _program(self) -> str:
        assert self._folder is not None, "a PeakMeter is used inside of `with`"
        return str(Path(self._folder.name, "fma_peak"))

    def sample(self, threads: int, milliseconds: float = 20) -> float | None:
        """GFLOP/s that `threads` cores reach together, a multiply-add counted as two; None where this CPU's
        instructions are not known to the program. Raises OutsideError."""
        command = [self._program, str(threads), f"{milliseconds:g}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=_SECONDS_TO_GIVE_UP + milliseconds / 1e3
            )
        except subprocess.TimeoutExpired as error:
            raise OutsideError("measuring the FMA peak did not end", "the machine is overloaded: try again") from error
        if done.returncode != 0:
            raise OutsideError(f"the FMA peak cannot be measured: {done.stderr.strip() or done.returncode}")
        gflops = float(done.stdout.split()[0])
        return gflops or None
