/* 0 where two values are less; NaN stays. */
__forceinline__ __device__ void half2_relu(half* values) {
  *(half2*)values = __hmax2_nan(*(half2*)values, __float2half2_rn(0.0f));
}
