/* The packed weights, read-only, aligned for the widest vectors. weights.bin lies beside this file. */
    .section .rodata.mncc_weights, "a", %progbits
    .hidden mncc_weights
    .type mncc_weights, %object
    .globl mncc_weights
    .balign 64
mncc_weights:
    .incbin "weights.bin"
    .size mncc_weights, . - mncc_weights
    .section .note.GNU-stack, "", %progbits
