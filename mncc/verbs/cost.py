"""`mncc cost`: counts from the graph, kernels from the plan; loads neither tvm nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mncc.network.ops import Dense
from mncc.report.cost import CostReport, KernelCost, LayerCost, PartCost, RowCost
from mncc.verbs.job import find_target, load_network
from mncc.verbs.precision import find_precision
from mncc.verbs.tuned import find_tuned, warn_of_misfits

if TYPE_CHECKING:
    from mncc.network.graph import Network
    from mncc.plan import Plan


def cost(
    path: str | Path,
    settings: Mapping[str, str] | None = None,
    target: str = "native",
    weights_dtype: str = "float32",
    dtype: str = "float32",
    tuned: str | Path | None = None,
) -> CostReport:
    """Parameters, multiply-adds, packed weights and workspace of a network. Raises DiagnosticError, UsageError."""
    from mncc.plan import make_plan

    found = find_target(target)
    precision = find_precision(weights_dtype, dtype, found)
    network = load_network(path, settings or {})
    tables = find_tuned(tuned, (found,))
    plan = make_plan(network, found, precision, tables[found.name].tiles() if tables else {})
    warn_of_misfits(plan)
    return CostReport(
        network=network.name,
        target=found.name,
        settings=dict(network.settings),
        params=network.params,
        macs=network.macs,
        workspace_bytes=plan.workspace_bytes(1),
        weight_bytes=plan.weight_bytes,
        layers=_layers(network),
        rows=_rows(network),
        parts=parts(network),
        kernels=_kernels(plan),
    )


def _layers(network: Network) -> tuple[LayerCost, ...]:
    layers = []
    for node in network.nodes:
        types = network.input_types(node)
        layers.append(LayerCost(node.name, node.op.name, node.type.shape, node.op.params(*types), node.op.macs(*types)))
    return tuple(layers)


def _rows(network: Network) -> tuple[RowCost, ...]:
    rows: dict[tuple[int, str], RowCost] = {}
    for node, layer in zip(network.nodes, _layers(network), strict=True):
        key = (node.origin.index, node.origin.row)
        so_far = rows.get(key)
        params, macs = (so_far.params, so_far.macs) if so_far else (0, 0)
        # Rows count from 1, as in the language; lines outside of the table stay below 0.
        number = key[0] + 1 if key[0] >= 0 else key[0]
        rows[key] = RowCost(number, key[1], str(node.type), params + layer.params, macs + layer.macs)
    return tuple(rows.values())


def parts(network: Network) -> tuple[PartCost, ...]:
    """What some papers leave out. The classifier is the last row (or line outside of the table) with multiply-adds."""
    norms = biases = 0
    dense = PartCost("dense layers", "", 0, 0)
    for node, layer in zip(network.nodes, _layers(network), strict=True):
        weights = network.weights(node)
        if isinstance(node.op, Dense):
            dense = replace(dense, params=dense.params + layer.params, macs=dense.macs + layer.macs)
        biases += weights["bias"].elements if "bias" in weights else 0
        norms += node.op.params(*network.input_types(node)) if "gamma" in weights else 0
    found = [PartCost("batch norm", "", norms, 0), PartCost("biases", "", biases, 0), dense]
    last = next((row for row in reversed(_rows(network)) if row.macs), None)
    if last is not None:
        row = f"row {last.number}: {last.row}" if last.number > 0 else last.row
        found.append(PartCost("classifier", row, last.params, last.macs))
    return tuple(found)


def _kernels(plan: Plan) -> tuple[KernelCost, ...]:
    return tuple(
        KernelCost(k.name, k.family, tuple(k.rows), str(k.output_type), k.macs, k.executed_macs, k.scratch_bytes)
        for k in plan.kernels
    )
