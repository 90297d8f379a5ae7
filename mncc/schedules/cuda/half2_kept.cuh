/* 0 for two values that are not kept. */
__forceinline__ __device__ void half2_kept(half* values, bool kept) {
  *(half2*)values = kept ? *(half2*)values : __float2half2_rn(0.0f);
}
