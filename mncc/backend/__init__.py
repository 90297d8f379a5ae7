"""TVM behind one door: versions, targets, lowering and code generation."""

from mncc.backend.cpu import CompiledKernels, Emitted, compile_kernels, emit

__all__ = ["CompiledKernels", "Emitted", "compile_kernels", "emit"]
