/* What a lane's sums of 16 x 8 begin with: the biases of its two columns, in shared memory, for both rows. They are loaded
 * twice: what the compiler knows to be the same it has in two registers, and copies for each product, which wants four. */
__forceinline__ __device__ void fragment_begin(float* sums, const float* biases) {
#ifdef MNCC_CUDA_ON_CPU_H
  for (int i = 0; i < 4; ++i) sums[i] = biases[i % 2];
#else
  for (int i = 0; i < 4; i += 2)
    asm volatile("ld.volatile.shared.v2.f32 {%0, %1}, [%2];"
                 : "=f"(sums[i]), "=f"(sums[i + 1])
                 : "r"((unsigned)__cvta_generic_to_shared(biases)));
#endif
}
