/* 6 where two values are more; NaN stays. Before sm_80 nothing does it at once. */
__forceinline__ __device__ void half2_at_most_6(half* values) {
#if __CUDA_ARCH__ >= 800
  *(half2*)values = __hmin2_nan(*(half2*)values, __float2half2_rn(6.0f));
#else
  unsigned more = __hgt2_mask(*(half2*)values, __float2half2_rn(6.0f));
  *(unsigned*)values = (*(unsigned*)values & ~more) | (0x46004600 & more);
#endif
}
