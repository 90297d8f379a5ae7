/* 0 where two values are less, 6 where they are more; NaN stays. */
__forceinline__ __device__ void half2_relu6(half* values) {
  *(half2*)values = __hmin2_nan(__hmax2_nan(*(half2*)values, __float2half2_rn(0.0f)), __float2half2_rn(6.0f));
}
