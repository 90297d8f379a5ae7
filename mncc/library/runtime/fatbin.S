/* The kernels as nvcc left them, for every architecture. kernels.fatbin lies beside this file. */
#include "name.h"

    .section ".rodata.mncc_fatbin", "a", %progbits
    .hidden mncc_fatbin
    .type mncc_fatbin, %object
    .globl mncc_fatbin
    .balign 64
mncc_fatbin:
    .incbin "kernels.fatbin"
    .size mncc_fatbin, . - mncc_fatbin
    .section .note.GNU-stack, "", %progbits
