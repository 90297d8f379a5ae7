/* Of two values and two others those that are less; NaN stays. */
__forceinline__ __device__ void half2_at_most(half* values, const half* most) {
  *(half2*)values = __hmin2_nan(*(half2*)values, *(const half2*)most);
}
