"""A stand-in for NVIDIA's driver, libcuda.so.1, whose kernels run on the CPU: libraries for GPUs without a GPU."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mncc.devices.cuda_on_cpu import FLAGS, HEADERS, KERNEL, on_cpu
from mncc.language.diagnostic import OutsideError
from mncc.library.template import RUNTIME

HERE = Path(__file__).parent


def build_standin(source: str, folder: Path, compiler: str = "g++") -> Path:
    """libcuda.so.1 in `folder`, with all kernels of a CUDA source; a program finds it by LD_LIBRARY_PATH or an rpath.

    Raises OutsideError where there is no such compiler or it refuses the text.
    """
    symbols = dict.fromkeys(KERNEL.findall(source))
    functions = [f"CUDA_ON_CPU_KERNEL({symbol})" for symbol in symbols]
    rows = [f'{{"{symbol}", parameters(&{symbol}), launch_{symbol}}},' for symbol in symbols]
    text = [
        '#include "on_cpu.h"',
        '#include "kernels.h"',
        on_cpu(source),
        *functions,
        "template <class... P> constexpr int parameters(void (*)(P...)) { return sizeof...(P); }",
        *("const StandinKernel standin_kernels[] = {", *rows, "};"),
        f"const int standin_kernel_count = {len(rows)};",
        "const char *standin_kernel_error() { return cuda_on_cpu_error(); }",
    ]
    (folder / "kernels.cpp").write_text("\n".join(text) + "\n", encoding="utf-8")
    output = folder / "libcuda.so.1"
    command = [compiler, *FLAGS, "-shared", "-g", *(f"-I{path}" for path in (HEADERS, HERE, RUNTIME)), "kernels.cpp"]
    command += [str(HERE / "libcuda.cpp"), "-Wl,-soname,libcuda.so.1", "-o", str(output)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise OutsideError(f"there is no {compiler}, which runs GPU kernels on the CPU", "apt install g++") from None
    if done.returncode != 0:
        raise OutsideError(f"{compiler} refuses the kernels: {done.stderr[:2000]}")
    return output
