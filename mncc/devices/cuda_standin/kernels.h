/* What the stand-in knows of the kernels that are linked into it. */
#ifndef MNCC_STANDIN_KERNELS_H
#define MNCC_STANDIN_KERNELS_H
struct StandinKernel {
  const char *symbol;
  int parameters; /* all of them pointers */
  /* grid, block, dynamic shared memory; parameters as cuLaunchKernel has them */
  void (*run)(const unsigned extents[7], void **parameters);
};
extern const StandinKernel standin_kernels[];
extern const int standin_kernel_count;
#endif
