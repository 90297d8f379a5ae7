/* What the tables of a library for GPUs are made of, beside those of structures.h. */
#ifndef MNCC_CUDA_STRUCTURES_H
#define MNCC_CUDA_STRUCTURES_H

enum argument_base { ARGUMENT_INPUT, ARGUMENT_OUTPUT, ARGUMENT_WORKSPACE, ARGUMENT_WEIGHTS };

/* A parameter of a kernel: a pointer to device memory, `offset` bytes into a buffer. */
typedef struct argument {
  enum argument_base base;
  int32_t index; /* which input or output */
  int64_t offset;
} argument;

/* A __global__ function of the fatbin, and the most dynamic shared memory that a launch of it takes. */
typedef struct gpu_function {
  const char *symbol;
  int32_t shared_bytes;
} gpu_function;

/* One step of the network, for the whole batch. */
typedef struct launch {
  const char *name;
  int32_t function;
  uint32_t grid[3], block[3], shared_bytes;
  int32_t first_argument, arguments; /* launch_arguments[first_argument ...], in the order of the signature */
} launch;

#endif
