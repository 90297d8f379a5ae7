/* Leaves a place as it is, and the compiler in the dark about what it is the sum of: it would make that sum anew in every
 * round of a loop. */
__forceinline__ __device__ void place_kept(int* place) {
#ifndef MNCC_CUDA_ON_CPU_H
  asm("" : "+r"(*place));
#endif
}
