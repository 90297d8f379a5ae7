/* 16 x 16 float16 numbers of shared memory for tensor cores: every lane names eight of a row, lanes 0 to 15 the left
 * ones, and gets four pairs (PTX ISA, ldmatrix). */
__forceinline__ __device__ void fragment_load(unsigned* pairs, const half* row) {
#ifdef MNCC_CUDA_ON_CPU_H
  cuda_on_cpu::load_fragment(pairs, row, false);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(pairs[0]), "=r"(pairs[1]), "=r"(pairs[2]), "=r"(pairs[3])
               : "r"((unsigned)__cvta_generic_to_shared(row)));
#endif
}
