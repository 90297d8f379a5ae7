"""A stand-in for NVIDIA's driver, libcuda.so.1, whose kernels run on the CPU: libraries for GPUs without a GPU."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from mncc.language.diagnostic import OutsideError
from mncc.library.template import RUNTIME

HERE = Path(__file__).parent


def build_standin(
    source: str, symbols: Mapping[str, int], folder: Path, shim: Path, call: str, flags: Sequence[str] = ()
) -> Path:
    """libcuda.so.1 in `folder`, with the kernels of CUDA C++ text that are named with their numbers of parameters.

    `shim` is the header with which the text is C++ for a CPU, `call` its function that runs a kernel: extents, body,
    parameters. Raises OutsideError where there is no g++ or the text does not compile.
    """
    if shutil.which("g++") is None:
        raise OutsideError("no g++ to compile the kernels for the CPU", "apt-get install g++")
    rows = [
        f'{{"{symbol}", {count}, [](const unsigned *e, void **p) {{ '
        f"{call}(e, [](void **q) {{ shim::call(&{symbol}, q); }}, p); }}}},"
        for symbol, count in symbols.items()
    ]
    table = ["const StandinKernel standin_kernels[] = {", *rows, "};", f"const int standin_kernel_count = {len(rows)};"]
    text = "\n".join([f'#include "{shim.name}"', source, '#include "kernels.h"', *table, ""])
    (folder / "kernels.cpp").write_text(text, encoding="utf-8")
    output = folder / "libcuda.so.1"
    command = ["g++", "-std=c++17", "-O1", "-g", "-shared", "-fPIC", "-ffp-contract=off", "-w", *flags]
    command += [f"-I{HERE}", f"-I{RUNTIME}", f"-I{shim.parent}", "kernels.cpp", str(HERE / "libcuda.cpp")]
    command += ["-Wl,-soname,libcuda.so.1", "-o", str(output)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OutsideError(f"g++ does not compile the kernels:\n{done.stderr[-4000:]}", "this is an error of mncc's")
    return output
