"""tables.h: one network as constant data, for the runtime to read. The only C that is made, and it has no code."""

from __future__ import annotations

import re

import numpy as np

from mncc.kernels.limits import KERNEL_TENSORS, PHASES
from mncc.library.cpu_features import CpuFeature, feature_rows
from mncc.library.header import ABI, elements, parameters, selftest_bytes
from mncc.library.names import c_string, parameter_names
from mncc.library.spec import Golden, Interface, InterfaceTensor, KernelEntry, LibrarySpec, Slot


def check_spec(spec: LibrarySpec) -> None:
    """Raises ValueError where the spec contradicts itself; such an error is mncc's own, not a user's."""
    tensors = {"input": spec.inputs, "output": spec.outputs, "workspace": ((),)}
    problems = check_interface(spec)
    if not spec.kernels:
        problems.append("a library needs a kernel")
    if spec.tensor_bytes % 64 or spec.scratch_bytes % 64 or min(spec.tensor_bytes, spec.scratch_bytes) < 0:
        problems.append(f"workspace sizes {spec.tensor_bytes}, {spec.scratch_bytes} are not multiples of 64")
    for kernel in spec.kernels:
        if not re.fullmatch(r"[A-Za-z_]\w*", kernel.symbol, flags=re.ASCII):
            problems.append(f"kernel {kernel.name}: {kernel.symbol!r} is not a C symbol")
        if not 1 <= len(kernel.tensors) <= KERNEL_TENSORS:
            problems.append(f"kernel {kernel.name} has {len(kernel.tensors)} tensors")
        if not 1 <= len(kernel.phases) <= PHASES or kernel.images < 1:
            problems.append(f"kernel {kernel.name} has {kernel.images} images of {len(kernel.phases)} phases")
        if any(phase.items < 1 or phase.block < 1 for phase in kernel.phases):
            problems.append(f"kernel {kernel.name} has {kernel.phases}")
        if not 0 <= kernel.weights_offset <= spec.weights.nbytes:
            problems.append(f"kernel {kernel.name}: weights at {kernel.weights_offset} of {spec.weights.nbytes} bytes")
        for slot in kernel.tensors:
            if not 0 <= slot.index < len(tensors[slot.base]) or not _inside(spec, kernel, slot):
                problems.append(f"kernel {kernel.name}: {slot} lies outside of its buffer")
    if problems:
        raise ValueError("\n".join(problems))


def check_interface(spec: Interface) -> list[str]:
    """What contradicts itself in what any library has: inputs, outputs and the self test."""
    problems = []
    if not spec.inputs or not spec.outputs:
        problems.append("a library needs an input and an output")
    for tensor in (*spec.inputs, *spec.outputs):
        if not tensor.shape or min(tensor.shape) < 1:
            problems.append(f"tensor {tensor.name} has the shape {tensor.shape}")
    for number, golden in enumerate(spec.goldens):
        if number >= len(spec.outputs) or any(not 0 <= i < elements(spec.outputs[number]) for i in golden.indices):
            problems.append(f"golden {number} has elements that no output has")
        if len(golden.indices) != len(golden.values) or not np.isfinite([*golden.values, golden.tolerance]).all():
            problems.append(f"golden {number} is not a finite value an index")
    return problems


def _inside(spec: LibrarySpec, kernel: KernelEntry, slot: Slot) -> bool:
    sizes = {"input": spec.inputs, "output": spec.outputs}
    size = spec.tensor_bytes if slot.base == "workspace" else 4 * elements(sizes[slot.base][slot.index])
    return slot.offset >= 0 and slot.image_stride >= 0 and slot.offset + (kernel.images - 1) * slot.image_stride < size


def tables_text(spec: LibrarySpec) -> str:
    """The whole of tables.h."""
    rows, tables = [], []
    for number, of in enumerate(spec.sets):
        features = feature_rows(of.triple, of.cpu_features)
        tables += [
            *_kernels(of, number),
            "/* name, leaf, subleaf, register, bit, bits of XCR0, key */",
            *array_lines("cpu_feature", f"features_{number}", [_feature(row) for row in features] or [_NO_FEATURE]),
            *array_lines("uint32_t", f"parts_{number}", [f"{part:#x}u" for part in of.parts] or ["0u"]),
        ]
        sizes = f"{size_literal(of.tensor_bytes)}, {size_literal(of.scratch_bytes)}"
        rows.append(
            f"{{{c_string(of.target)}, kernels_{number}, {len(of.kernels)}, slots_{number}, {sizes}, "
            f"features_{number}, {len(features)}, parts_{number}, {len(of.parts)}}}"
        )
    lines = [
        *interface_lines(spec),
        f"#define MNCC_MAX_TENSORS {max(len(kernel.tensors) for of in spec.sets for kernel in of.kernels)}",
        f"#define MNCC_VARIANTS {len(spec.sets)}",
        "",
        *tables,
        "/* target, kernels, slots, bytes of tensors and of scratch, features, parts */",
        *array_lines("variant", "variants", rows),
    ]
    return "\n".join(lines)


_NO_FEATURE = '{"", 0u, 0u, 0, 0, 0u, ""}'


def _feature(row: CpuFeature) -> str:
    where = f"{row.leaf:#x}u, {row.subleaf}u, {row.reg}, {row.bit}, {row.xcr0:#x}u"
    return f"{{{c_string(row.name)}, {where}, {c_string(row.key)}}}"


def interface_lines(spec: Interface) -> list[str]:
    """What tables.h says of any library: its name, its interface, its self test."""
    outputs = [f"(void *){name}" for name in parameter_names("output", spec.outputs)]
    goldens = _goldens(spec)
    return [
        f"/* The network {spec.name} as data, written by mncc; library.c reads it. */",
        "#pragma GCC visibility push(default)",
        f'#include "../{spec.name}.h"',
        "#pragma GCC visibility pop",
        "",
        '#include "name.h"',
        f"#define MNCC_MODEL_NAME {c_string(spec.name)}",
        f"#define MNCC_MODEL_HASH {c_string(spec.model_hash)}",
        f"#define MNCC_ABI {ABI}u",
        f"#define MNCC_INPUTS {len(spec.inputs)}",
        f"#define MNCC_OUTPUTS {len(spec.outputs)}",
        f"#define MNCC_RUN_PARAMETERS {', '.join(parameters(spec))}",
        f"#define MNCC_RUN_INPUTS {', '.join(parameter_names('input', spec.inputs))}",
        f"#define MNCC_RUN_OUTPUTS {', '.join(outputs)}",
        f"#define MNCC_SELFTEST_BYTES {size_literal(selftest_bytes(spec))}",
        f"#define MNCC_WEIGHTS_BYTES {size_literal(spec.weights.nbytes)}",
        f"#define MNCC_GOLDENS {len(goldens)}",
        "",
        *_tensors("input", spec.inputs),
        *_tensors("output", spec.outputs),
        "/* variant, tensor, element, value, tolerance */",
        *array_lines("golden", "goldens", goldens or ["{-1, 0, 0, 0.0f, 0.0}"]),
    ]


def size_literal(count: int) -> str:
    """A size as a literal that the preprocessor can compare too; a 32-bit target rejects what it cannot hold."""
    return f"{count}u" if count < 2**32 else f"{count}ull"


def array_lines(kind: str, name: str, rows: list[str]) -> list[str]:
    """A constant array of C, a row a line."""
    return [f"static const {kind} {name}[] = {{", *(f"    {row}," for row in rows), "};", ""]


def _tensors(side: str, tensors: tuple[InterfaceTensor, ...]) -> list[str]:
    lines = []
    for number, tensor in enumerate(tensors):
        lines.append(f"static const int32_t {side}_{number}_shape[] = {{{', '.join(map(str, tensor.shape))}}};")
    rows = [
        f"{{sizeof(mncc_tensor), {c_string(tensor.name)}, MNCC_FLOAT32, {len(tensor.shape)}, {side}_{number}_shape, "
        "1.0f, 0}"
        for number, tensor in enumerate(tensors)
    ]
    return lines + array_lines("mncc_tensor", f"{side}_tensors", rows)


def _kernels(spec: LibrarySpec, variant: int) -> list[str]:
    numbers = {symbol: n for n, symbol in enumerate(dict.fromkeys(kernel.symbol for kernel in spec.kernels))}
    prototypes: dict[str, str] = {}
    slots: list[str] = []
    rows = []
    for kernel in spec.kernels:
        pointers = ", void *" * len(kernel.tensors)
        function = f"function_{variant}_{numbers[kernel.symbol]}"
        text = f"int32_t {function}(int32_t begin, int32_t end, const void *weights, void *scratch{pointers})"
        if prototypes.setdefault(kernel.symbol, text) != text:
            raise ValueError(f"kernels share the symbol {kernel.symbol} but not the number of tensors")
        phases = ", ".join(f"{{{phase.items}, {phase.block}}}" for phase in kernel.phases)
        rows.append(
            f"{{{c_string(kernel.name)}, (kernel_function){function}, {{{phases}}}, {kernel.images}, "
            f"{kernel.weights_offset}, {len(slots)}, {len(kernel.tensors)}}}"
        )
        slots += [
            f"{{SLOT_{slot.base.upper()}, {slot.index}, {slot.offset}, {slot.image_stride}}}" for slot in kernel.tensors
        ]
    return [
        "#pragma GCC visibility push(hidden)",
        *(f'{text} MNCC_SYMBOL("{symbol}");' for symbol, text in prototypes.items()),
        "#pragma GCC visibility pop",
        "",
        "/* base, index, offset, bytes from image to image */",
        *array_lines("slot", f"slots_{variant}", slots),
        "/* name, function, phases (items, items a block), images, offset of the weights, first slot, tensors */",
        *array_lines("kernel", f"kernels_{variant}", rows),
    ]


def _goldens(spec: Interface) -> list[str]:
    """Rows of the table: once where all targets of the library have the same, else for each."""
    sets = [of.goldens for of in spec.sets] if isinstance(spec, LibrarySpec) else [spec.goldens]
    if len(set(sets)) == 1:
        return _golden_rows(sets[0], -1)
    return [row for number, goldens in enumerate(sets) for row in _golden_rows(goldens, number)]


def _golden_rows(goldens: tuple[Golden, ...], variant: int) -> list[str]:
    return [
        f"{{{variant}, {output}, {index}, {float(np.float32(value)).hex()}f, {golden.tolerance.hex()}}}"
        for output, golden in enumerate(goldens)
        for index, value in zip(golden.indices, golden.values, strict=True)
    ]
