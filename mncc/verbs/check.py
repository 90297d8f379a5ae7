"""`mncc check`: reads a file at its settings and says what it is; loads neither tvm nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mncc.report.numbers import count, plural, short_count
from mncc.verbs.job import load_network


def check(path: str | Path, settings: Mapping[str, str] | None = None) -> str:
    """One line on a network that is right. Raises DiagnosticError with all that is wrong."""
    network = load_network(path, settings or {})
    inputs = ", ".join(f"{i.name} {i.type}" for i in network.inputs)
    outputs = ", ".join(f"{o.name} {network.types[o.value]}" for o in network.outputs)
    return (
        f"{network.name}: {inputs} -> {outputs}; {plural(len(network.nodes), 'operator')}, "
        f"{count(network.params)} parameters, {short_count(network.macs)} multiply-adds"
    )
