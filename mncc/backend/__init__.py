"""TVM behind one door: versions, targets, lowering and code generation."""

from mncc.backend.cpu import CompiledKernels, KernelFunction, compile_functions, compile_kernels, emit

__all__ = ["CompiledKernels", "KernelFunction", "compile_functions", "compile_kernels", "emit"]
