"""Bounds that every kernel keeps, whatever its family."""

KERNEL_TENSORS = 16
"""Inputs, what its phases share, and output of one kernel, at most: the C runtime has a case for each count."""
PHASES = 2
"""Parts of one kernel that tasks share out one after the other, at most."""
