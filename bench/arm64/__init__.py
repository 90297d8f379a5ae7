"""64-bit Arm without the hardware: instructions under emulation, beside those of other engines. They are not times."""
