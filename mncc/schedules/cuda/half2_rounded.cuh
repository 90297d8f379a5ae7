/* values <- two sums, each rounded once. */
__forceinline__ __device__ void half2_rounded(half* values, const float* sums) {
  *(half2*)values = __floats2half2_rn(sums[0], sums[1]);
}
