/* What the stand-in knows of the kernels that are linked into it. */
#ifndef MNCC_STANDIN_KERNELS_H
#define MNCC_STANDIN_KERNELS_H
struct StandinKernel {
  const char *symbol;
  int parameters; /* all of them pointers */
  /* grid, block, bytes of dynamic shared memory; parameters as cuLaunchKernel has them. Answers 0, or what standin_kernel_error() has words for. */
  int (*run)(void **parameters, const unsigned *extents, unsigned order);
};
extern const StandinKernel standin_kernels[];
extern const int standin_kernel_count;
const char *standin_kernel_error();
#endif
