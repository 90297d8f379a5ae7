"""NAME.h: the macros and the prototype of a network, around the types that all libraries share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mncc.library.names import c_string, macro_names, parameter_names
from mncc.library.spec import Interface, InterfaceTensor
from mncc.library.template import RUNTIME, fill

ABI = 1
"""Of the functions and types; raised when a program compiled before would no longer run."""


def elements(tensor: InterfaceTensor) -> int:
    """Number of elements, the batch included."""
    return math.prod(tensor.shape)


def selftest_bytes(spec: Interface) -> int:
    """Workspace of the self test: inputs and outputs, each rounded up to 64 bytes, and a run's on one thread."""
    tensors = sum(-(-4 * elements(tensor) // 64) * 64 for tensor in (*spec.inputs, *spec.outputs))
    return tensors + spec.tensor_bytes + spec.scratch_bytes


def parameters(spec: Interface) -> list[str]:
    """The typed pointers of NAME_run."""
    inputs = [f"const float *{name}" for name in parameter_names("input", spec.inputs)]
    return inputs + [f"float *{name}" for name in parameter_names("output", spec.outputs)]


def parameter_list(spec: Interface) -> str:
    """The typed pointers of NAME_run as a prototype has them, before its further parameters."""
    return ("\n    " if len(parameters(spec)) > 2 else " ").join(f"{p}," for p in parameters(spec))


@dataclass(frozen=True)
class Wording:
    """What the header says of a kind of library: how it runs, how its workspace is given, and functions of its own."""

    about: str
    how: str
    device: str = ""
    exact: str = "exact"
    """What NAME_WORKSPACE_BYTES is of what a run on one thread needs."""


def cpu_wording(targets: int = 1) -> Wording:
    """Of a library whose kernels run on a CPU, one of so many that it is for."""
    workspace = " * The workspace needs 64-byte alignment and, for t threads, workspace_bytes(t)."
    exact = "exact" if targets == 1 else f"the most of {targets} sets of kernels"
    return Wording(fill("about_cpu.in", {}).rstrip("\n"), f"{workspace} `exec` may be NULL: serial. */", exact=exact)


def header_text(spec: Interface, wording: Wording | None = None) -> str:
    """The whole of NAME.h; `wording` is a CPU's by default. Raises DiagnosticError where two tensors would share their
    macros."""
    wording = wording or cpu_wording()
    words = {
        "NAME": spec.name,
        "WRITER": f"mncc {spec.manifest.get('versions', {}).get('mncc', '')}".strip(),
        "UPPER": spec.name.upper(),
        "SUMMARY": "\n".join(_summary(spec)),
        "TYPES": (RUNTIME / "mncc_types.h").read_text(encoding="utf-8"),
        "ABI": str(ABI),
        "HASH": c_string(spec.model_hash),
        "WORKSPACE_BYTES": str(spec.tensor_bytes + spec.scratch_bytes),
        "SELFTEST_BYTES": str(selftest_bytes(spec)),
        "MACROS": "\n".join(_macros(spec)),
        "PARAMETERS": parameter_list(spec),
        "ABOUT": wording.about,
        "HOW": wording.how,
        "DEVICE": wording.device,
        "EXACT": wording.exact,
    }
    return fill("network.h.in", words)


def _summary(spec: Interface) -> list[str]:
    lines = []
    for side, tensors in (("input", spec.inputs), ("output", spec.outputs)):
        for tensor, name in zip(tensors, parameter_names(side, tensors), strict=True):
            shape = "][".join(str(n) for n in tensor.shape)
            about = ", ".join(part for part in (tensor.channels, tensor.kind, "dense, row major") if part)
            lines.append(f" *   {side:6} float {name}[{shape}]  {about}")
    return lines


def _macros(spec: Interface) -> list[str]:
    named = macro_names(spec)
    lines = []
    for side, tensors in (("input", spec.inputs), ("output", spec.outputs)):
        for tensor, prefix in zip(tensors, named[side], strict=True):
            lines.append(f"#define {prefix}_ELEMS {elements(tensor)}u")
            lines.append(f"#define {prefix}_SHAPE {{{', '.join(map(str, tensor.shape))}}}")
            if tensor.mean:
                if tensor.std:
                    lines.append(
                        "/* A picture's values, 0 to 255, become (value / 255 - MEAN) / STD, channel by channel. */"
                    )
                lines.append(f"#define {prefix}_MEAN {{{_floats(tensor.mean)}}}")
            if tensor.std:
                lines.append(f"#define {prefix}_STD {{{_floats(tensor.std)}}}")
            if tensor.channels:
                lines.append(f"#define {prefix}_CHANNELS {c_string(tensor.channels)}")
            if tensor.kind:
                lines.append(f"#define {prefix}_KIND {c_string(tensor.kind)}")
    return lines


def _floats(values: tuple[float, ...]) -> str:
    return ", ".join(f"{float(value)!r}f" for value in values)
