"""Kernels compiled in processes of their own, which outlive a kernel: loading TVM takes seconds, and code that makes it
crash or run forever shall cost nothing but itself."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import queue
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

from mncc.kernels.target import Target

if TYPE_CHECKING:
    from mncc.backend import KernelFunction

Compile = Callable[["KernelFunction", str, Target], bytes]
"""A kernel under a symbol -> an object file. A function of a module: another process finds it by its name."""

LAST_LINES = 12
"""Of a trace."""
_PR_SET_PDEATHSIG = 1


class BuildError(Exception):
    """A kernel cannot be compiled; the text says why, with the trace of what was raised."""


def compile_kernel(function: KernelFunction, symbol: str, target: Target) -> bytes:
    """One kernel as an object file."""
    from mncc.backend import compile_functions

    return compile_functions({function: symbol}, target)


class Compilers:
    """Some compiling processes, each started when it is first needed. Any thread may ask; a context manager."""

    def __init__(self, count: int, seconds: float, compile: Compile = compile_kernel) -> None:
        self.count, self.seconds, self.code = count, seconds, compile
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        for _ in range(count):
            self._idle.put(None)
        self._all: set[_Worker] = set()
        self._ended = False

    def __enter__(self) -> Compilers:
        return self

    def __exit__(self, *about: object) -> None:
        self.end()

    def end(self) -> None:
        """Ends all processes, whatever they do; nothing is compiled any more."""
        self._ended = True
        for worker in list(self._all):
            worker.end()

    def compile(self, function: KernelFunction, symbol: str, target: Target) -> bytes:
        """The object file of a kernel, made by the first process that is idle. Raises BuildError."""
        worker = self._idle.get()
        try:
            if self._ended:
                raise BuildError("the measurements were ended")
            if worker is None:
                worker = _Worker(self.code)
                self._all.add(worker)
            return worker.compile(function, symbol, target, self.seconds)
        finally:
            if worker is not None and not worker.lives:
                self._all.discard(worker)
                worker = None
            self._idle.put(worker)


class _Worker:
    """A process that compiles what it is sent, one after the other."""

    def __init__(self, code: Compile) -> None:
        context = multiprocessing.get_context("spawn")
        self.end_here, there = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(there, code), daemon=True)
        self.process.start()
        there.close()

    @property
    def lives(self) -> bool:
        return self.process.is_alive()

    def compile(self, function: KernelFunction, symbol: str, target: Target, seconds: float) -> bytes:
        try:
            self.end_here.send((function, symbol, target))
            if not self.end_here.poll(seconds):
                self.end()
                raise BuildError(f"the compiler did not end within {seconds:.0f} s")
            done: tuple[bytes | None, str] = self.end_here.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            code = self.process.exitcode or 0
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            raise BuildError(f"the compiler's process {how}") from error
        if done[0] is None:
            raise BuildError(done[1])
        return done[0]

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self.end_here.close()


def _serve(there: Connection, code: Compile) -> None:
    """The process: interrupts are for its parent, with which it ends, also where that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # Linux
    while True:
        try:
            function, symbol, target = there.recv()
        except (EOFError, OSError):
            return
        try:
            there.send((code(function, symbol, target), ""))
        except Exception:
            there.send((None, "\n".join(traceback.format_exc().strip().splitlines()[-LAST_LINES:])))
