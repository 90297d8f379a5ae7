"""From what a writer writes to a scheduled function, for every family and machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T


class Writes(Protocol):
    """Declares parameters where it is made."""

    def write(self) -> None:
        """Writes the body."""

    def schedule(self, sch: Schedule) -> None:
        """Schedules everything that was written."""


W = TypeVar("W", bound=Writes)


def scheduled_function(make: Callable[[], W], symbol: str) -> tuple[tirx.PrimFunc, W]:
    """The scheduled function of a writer under the name `symbol`, and the writer."""
    with IRBuilder() as builder:
        with T.prim_func(s_tir=True):
            T.func_name("main")
            writer = make()
            writer.write()
        function = builder.get()
    sch = Schedule(function)
    writer.schedule(sch)
    return sch.mod["main"].with_attr("global_symbol", symbol), writer
