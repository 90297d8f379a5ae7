/* sums += left x right, matrices of 16 x 16 that a warp holds together, in halves of eight columns (PTX ISA, mma). Of each
 * half a lane has columns 2 * (lane % 4) and the next in row lane / 4, then in the eighth row behind it. */
__forceinline__ __device__ void fragment_multiply(float* sums, const unsigned* left, const unsigned* right) {
#ifdef MNCC_CUDA_ON_CPU_H
  cuda_on_cpu::multiply_fragments(sums, left, right);
#else
#pragma unroll
  for (int half_of = 0; half_of < 2; ++half_of, sums += 4, right += 2) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
#else
    for (int part = 0; part < 2; ++part)
      asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                   "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                   : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                   : "r"(left[2 * part]), "r"(left[2 * part + 1]), "r"(right[part]));
#endif
  }
#endif
}
