/* The packed weights, read-only, aligned for the widest vectors. weights.bin lies beside this file. */
#include "name.h"

#ifdef __APPLE__
#define UNDERSCORE_(name) _##name
#define UNDERSCORE(name) UNDERSCORE_(name)
#define WEIGHTS UNDERSCORE(mncc_weights)
    .section __TEXT,__const
    .private_extern WEIGHTS
#else
#define WEIGHTS mncc_weights
    .section ".rodata.mncc_weights", "a", %progbits
    .hidden WEIGHTS
    .type WEIGHTS, %object
#endif
    .globl WEIGHTS
    .p2align 6
WEIGHTS:
    .incbin "weights.bin"
#ifndef __APPLE__
    .size WEIGHTS, . - WEIGHTS
    .section .note.GNU-stack, "", %progbits
#endif
