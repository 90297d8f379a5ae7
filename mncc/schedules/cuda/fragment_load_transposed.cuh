/* The same for the right operand, whose pairs are of neighbours in a column. */
__forceinline__ __device__ void fragment_load_transposed(unsigned* pairs, const half* row) {
#ifdef MNCC_CUDA_ON_CPU_H
  cuda_on_cpu::load_fragment(pairs, row, true);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(pairs[0]), "=r"(pairs[1]), "=r"(pairs[2]), "=r"(pairs[3])
               : "r"((unsigned)__cvta_generic_to_shared(row)));
#endif
}
