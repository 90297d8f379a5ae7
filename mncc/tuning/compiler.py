"""Kernels compiled in processes of their own, which outlive a kernel: loading TVM takes seconds, and code that makes it
crash or run forever shall cost nothing but itself."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import TYPE_CHECKING

from mncc.devices.helper import Helper, HelperError
from mncc.kernels.target import Target

if TYPE_CHECKING:
    from mncc.backend import KernelFunction

Compile = Callable[["KernelFunction", str, Target], bytes]
"""A kernel under a symbol -> an object file. A function of a module: another process finds it by its name."""


class BuildError(Exception):
    """A kernel cannot be compiled; the text says why, with the trace of what was raised."""


def compile_kernel(function: KernelFunction, symbol: str, target: Target) -> bytes:
    """One kernel as an object file."""
    from mncc.backend import compile_functions

    return compile_functions({function: symbol}, target)


class Compilers:
    """Some compiling processes, each started when it is first needed. Any thread may ask; a context manager."""

    def __init__(self, count: int, seconds: float, compile: Compile = compile_kernel) -> None:
        self.count, self.seconds, self._compile = count, seconds, compile
        self._idle: queue.SimpleQueue[Helper | None] = queue.SimpleQueue()
        for _ in range(count):
            self._idle.put(None)
        self._all: set[Helper] = set()
        self._ended = False

    def __enter__(self) -> Compilers:
        return self

    def __exit__(self, *about: object) -> None:
        self.end()

    def end(self) -> None:
        """Ends all processes, whatever they do; nothing is compiled any more."""
        self._ended = True
        for helper in list(self._all):
            helper.end()

    def compile(self, function: KernelFunction, symbol: str, target: Target) -> bytes:
        """The object file of a kernel, made by the first process that is idle. Raises BuildError."""
        helper = self._idle.get()
        try:
            if self._ended:
                raise BuildError("the measurements were ended")
            if helper is None:
                helper = Helper(_made, self._compile)
                self._all.add(helper)
            code: bytes = helper.call(function, symbol, target, seconds=self.seconds)
            return code
        except HelperError as error:
            raise BuildError(f"compiling failed: {error}") from error
        finally:
            if helper is not None and not helper.lives:
                self._all.discard(helper)
                helper = None
            self._idle.put(helper)


def _made(compile: Compile) -> Compile:
    return compile
