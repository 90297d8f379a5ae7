/* sums += values * taps, two float16 numbers at once, each rounded once. */
__forceinline__ __device__ void half2_multiply_add(half* sums, const half* values, const half* taps) {
  *(half2*)sums = __hfma2(*(const half2*)values, *(const half2*)taps, *(half2*)sums);
}
