/* values <- two sums, each rounded once; 0 where they are less; NaN stays. Before sm_80 each is rounded alone, and put
 * beside the other as a whole number: two float16 numbers ptxas would put there twice, to compare and to keep. */
__forceinline__ __device__ void half2_rounded_relu(half* values, const float* sums) {
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(*(unsigned*)values) : "f"(sums[1]), "f"(sums[0]));
#else
  unsigned low = __half_as_ushort(__float2half_rn(sums[0])), high = __half_as_ushort(__float2half_rn(sums[1]));
  *(unsigned*)values = __byte_perm(low, high, 0x5410);
  *(unsigned*)values &= __hgtu2_mask(*(half2*)values, __float2half2_rn(0.0f));
#endif
}
