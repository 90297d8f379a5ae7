"""TVM behind one door: versions, targets, lowering and code generation."""

from mncc.backend.cpu import CompiledKernels, KernelFunction, compile_functions, compile_kernels, emit
from mncc.backend.cuda import CudaFunction, CudaKernels, Launch, compile_cuda, compile_cuda_functions, emit_cuda

__all__ = [
    "CompiledKernels",
    "CudaFunction",
    "CudaKernels",
    "KernelFunction",
    "Launch",
    "compile_cuda",
    "compile_cuda_functions",
    "compile_functions",
    "compile_kernels",
    "emit",
    "emit_cuda",
]
