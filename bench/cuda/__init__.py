"""Libraries for GPUs beside other engines: python -m bench.cuda, on a machine that has one."""
