"""Planned GPU kernels -> TensorIR bound to blocks and threads."""
