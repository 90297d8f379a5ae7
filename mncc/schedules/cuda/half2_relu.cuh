/* 0 where two values are less; NaN stays. Before sm_80 nothing does it at once. */
__forceinline__ __device__ void half2_relu(half* values) {
#if __CUDA_ARCH__ >= 800
  *(half2*)values = __hmax2_nan(*(half2*)values, __float2half2_rn(0.0f));
#else
  *(unsigned*)values &= __hgtu2_mask(*(half2*)values, __float2half2_rn(0.0f));
#endif
}
