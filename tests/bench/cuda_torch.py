"""Stand-ins for what bench.cuda asks of torch.cuda: work that is captured does not run before it is replayed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Stream:
    """Of torch.cuda.Stream; all work is done at once."""

    capturing = False

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.waited: list[Stream] = []

    def wait_stream(self, stream: Stream) -> None:
        assert isinstance(stream, Stream) and not Stream.capturing
        self.waited.append(stream)


_current = [Stream()]


def current_stream(device: Any = None) -> Stream:
    return _current[-1]


@contextmanager
def stream(stream: Stream) -> Iterator[None]:
    """The caller's work is known to the new stream only if that has waited for the old one."""
    assert _current[-1] in stream.waited
    _current.append(stream)
    yield
    _current.pop()


def synchronize(device: Any = None) -> None:
    assert not Stream.capturing, "operation not permitted when stream is capturing"


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


class CUDAGraph(TorchDispatchMode):
    """The operations that ran while it was entered. What they made is not there before a replay."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, made))
        return made

    def forget(self) -> None:
        """Not the numbers in views of what lay there before."""
        old = set()
        for _, args, kwargs, made in self.calls:
            for tensor in _tensors((args, kwargs)):
                old.add(tensor.untyped_storage().data_ptr())
            for tensor in _tensors(made):
                if tensor.untyped_storage().data_ptr() not in old:
                    tensor.fill_(float("nan"))

    def replay(self) -> None:
        assert self.calls and not Stream.capturing
        self.replays += 1
        with torch.inference_mode():
            for func, args, kwargs, made in self.calls:
                for tensor, again in zip(_tensors(made), _tensors(func(*args, **kwargs)), strict=True):
                    if tensor.data_ptr() != again.data_ptr():
                        tensor.copy_(again)


@contextmanager
def graph(
    cuda_graph: CUDAGraph, pool: Any = None, stream: Stream | None = None, capture_error_mode: str = "global"
) -> Iterator[None]:
    """Captures on a stream of its own."""
    assert isinstance(cuda_graph, CUDAGraph) and not cuda_graph.calls
    Stream.capturing = True
    try:
        with cuda_graph:
            yield
    finally:
        Stream.capturing = False
    cuda_graph.forget()


STANDINS = (Stream, current_stream, stream, synchronize, CUDAGraph, graph)


def install(patch: pytest.MonkeyPatch) -> None:
    """In the place of torch's own."""
    for standin in STANDINS:
        assert hasattr(torch.cuda, standin.__name__)
        patch.setattr(torch.cuda, standin.__name__, standin)
