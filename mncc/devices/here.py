"""A library in this very process: the place `local`."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mncc.devices.loaded import ALIGN, Library, Probe, aligned_empty
from mncc.devices.peak import PeakMeter
from mncc.devices.requests import Answer, KernelRun, MachineFacts, NetworkRun, Operand, PeakSample, Request

_NAN = 0xFF
"""As every byte of a float."""


@dataclass
class Here:
    """A Place that calls a loaded library, and its probe for single kernels."""

    library: Library
    probe: Probe | None = None
    _inputs: tuple[np.ndarray, ...] = ()

    def answers(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """An answer at a time, each as its request is made. Raises RunError."""
        for request in requests:
            if isinstance(request, NetworkRun):
                yield self._network(request)
            elif isinstance(request, KernelRun):
                yield self._kernel(request)
            elif isinstance(request, PeakSample):
                yield self._peak(request)
            else:
                yield Answer(machine=_machine())

    def _network(self, request: NetworkRun) -> Answer:
        self._inputs = self._inputs if request.inputs is None else request.inputs
        if request.profile:
            profile = self.library.profile(*self._inputs, threads=request.threads, repeats=request.repeat.most)
            kernels = 1e-9 * np.array([kernel.nanoseconds for kernel in profile]).T
            return Answer(self.library.run(*self._inputs), tuple(kernels.sum(axis=1)), kernels)
        call = self.library.bind(*self._inputs, threads=request.threads)
        # What a GPU does is no time of this process.
        clock = time.perf_counter if request.threads > 1 or self.library.on_gpu else time.process_time
        seconds: list[float] = []
        while request.repeat.goes_on(len(seconds), sum(seconds)):
            began = clock()
            outputs = call()
            seconds.append(clock() - began)
        return Answer(tuple(output.copy() for output in outputs), tuple(seconds))

    def _kernel(self, request: KernelRun) -> Answer:
        assert self.probe is not None, "single kernels run through a probe"
        memory = [_memory(operand) for operand in request.tensors]
        pointers = [bytes[operand.start :] for bytes, operand in zip(memory, request.tensors, strict=True)]
        seconds: list[float] = []
        while request.repeat.goes_on(len(seconds), sum(seconds)):
            began = time.process_time()
            self.probe.run(request.kernel, pointers)
            seconds.append(time.process_time() - began)
        return Answer((memory[-1],), tuple(seconds))

    def _peak(self, request: PeakSample) -> Answer:
        with PeakMeter() as meter:
            return Answer(gflops=meter.sample(request.threads, 1e3 * request.seconds) or 0.0)


def _machine() -> MachineFacts:
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        cpuinfo = ""
    return MachineFacts(platform.system(), platform.machine(), len(os.sched_getaffinity(0)), cpuinfo)


def _memory(operand: Operand) -> np.ndarray:
    """The bytes of an operand, aligned; a copy only where what was given is not."""
    if isinstance(operand.memory, int):
        memory = aligned_empty(operand.memory)
        memory[:] = _NAN
        return memory
    given = operand.memory.reshape(-1).view(np.uint8)
    if given.ctypes.data % ALIGN == 0:
        return given
    memory = aligned_empty(given.nbytes)
    memory[:] = given
    return memory
