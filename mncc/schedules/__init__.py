"""Planned kernels -> scheduled TensorIR, a function a family.

A scheduled function has the parameters (begin, end, buffers...). Its attributes `mncc.weights` and `mncc.scratch` name
the buffers that lie at an offset (bytes) in the kernel's weights and in its task's scratch; the other buffers are the
kernel's tensors, inputs first, in the order of the plan.
"""
