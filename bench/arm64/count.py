"""Counts the instructions of a library that `mncc build` left, kernel by kernel, under qemu-user.

    mncc build examples/mobilenet_v2.mn --target arm64-cortex-a76 -o build/a76
    python -m bench.arm64.count build/a76
    python -m bench.arm64.count build/a76 --loops 10               and the loops that run most instructions, as text
    python -m bench.arm64.count build/a76 --loops 3 --kernel k01   the loops of one kernel
    python -m bench.arm64.count build/a76 --loops 5 --model neoverse-n1 cortex-a55   and what llvm-mca says of them

These are instructions, not times.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from bench.arm64 import mca
from bench.arm64.loops import find_loops, loop_text
from mncc.devices.counting import FIRST_KERNEL, count_library
from mncc.devices.loaded import find_library, read_manifest
from mncc.kernels.target import load_target
from mncc.report.console import show
from mncc.report.failures import UsageError, guarded
from mncc.report.instructions import InstructionReport
from mncc.verbs.instructions import kernel_instructions, whole_instructions


def main() -> int:
    """The program; answers its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.arm64.count", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("library", type=Path, metavar="DIR", help="what `mncc build --target arm64-... -o DIR` left")
    parser.add_argument("--cpu", help="as qemu calls it; the target's if left out")
    parser.add_argument("--loops", type=int, default=0, metavar="N", help="also print the N loops that run most")
    parser.add_argument("--kernel", default="", metavar="NAME", help="of these kernels only (the beginning of a name)")
    parser.add_argument("--model", nargs="+", default=[], metavar="CPU", help="the loops' cycles, by LLVM's names")
    options = parser.parse_args()
    _, name = find_library(options.library)
    manifest = read_manifest(options.library, name)
    target = load_target(manifest["target"]["name"])
    entries = manifest["kernels"]
    chosen = [number for number, entry in enumerate(entries) if entry["name"].startswith(options.kernel)]
    if not chosen:
        names = ", ".join(entry["name"] for entry in entries)
        raise UsageError(f"--kernel {options.kernel}: there is no such kernel", f"the library has {names}")
    target = replace(target, emulated=options.cpu or target.emulated)
    counted = count_library(options.library, name, target)
    report = InstructionReport(
        network=name,
        target=target.name,
        cpu=target.emulated,
        emulator="",
        whole=whole_instructions(manifest["macs"], counted, target.lanes),
        profile=kernel_instructions(entries, counted, target.lanes),
    )
    show(*report.tables())
    if options.loops:
        ran = counted.executed.by_address(FIRST_KERNEL + number for number in chosen)
        for loop in find_loops(ran)[: options.loops]:
            cycles = {cpu: mca.cycles_of(loop.code, cpu, mca.find_tool()) for cpu in options.model}
            print(loop_text(loop, cycles))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
