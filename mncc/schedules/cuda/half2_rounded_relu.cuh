/* values <- two sums, each rounded once; 0 where they are less; NaN stays. */
__forceinline__ __device__ void half2_rounded_relu(half* values, const float* sums) {
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(*(unsigned*)values) : "f"(sums[1]), "f"(sums[0]));
#else
  *(half2*)values = __hmax2_nan(__floats2half2_rn(sums[0], sums[1]), __float2half2_rn(0.0f));
#endif
}
