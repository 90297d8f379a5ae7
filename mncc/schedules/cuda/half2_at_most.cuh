/* Of two values and two others those that are less; NaN stays. Before sm_80 nothing does it at once. */
__forceinline__ __device__ void half2_at_most(half* values, const half* most) {
#if __CUDA_ARCH__ >= 800
  *(half2*)values = __hmin2_nan(*(half2*)values, *(const half2*)most);
#else
  unsigned more = __hgt2_mask(*(half2*)values, *(const half2*)most);
  *(unsigned*)values = (*(unsigned*)values & ~more) | (*(const unsigned*)most & more);
#endif
}
