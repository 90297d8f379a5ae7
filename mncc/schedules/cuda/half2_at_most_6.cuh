/* 6 where two values are more; NaN stays. */
__forceinline__ __device__ void half2_at_most_6(half* values) {
  *(half2*)values = __hmin2_nan(*(half2*)values, __float2half2_rn(6.0f));
}
