/* The types that every library written by mncc shares. They are the same text in every header; the first header of a
 * file defines them, and a second of another version stops the compilation instead of mixing two layouts. */
#ifdef MNCC_TYPES_VERSION
#if MNCC_TYPES_VERSION != 1
#error "two headers written by different versions of mncc meet in one file: build both libraries with one mncc"
#endif
#else
#define MNCC_TYPES_VERSION 1

typedef int32_t mncc_status; /* values are only ever added */
enum {
  MNCC_OK = 0,
  MNCC_E_NULL,      /* a pointer that is needed is NULL */
  MNCC_E_ALIGN,     /* a buffer is not aligned, or an output overlaps another buffer */
  MNCC_E_WORKSPACE, /* the workspace is too small, or overlaps an input */
  MNCC_E_CPU,       /* the processor or the operating system lacks the instructions of the kernels */
  MNCC_E_DEVICE,    /* a kernel or its device failed */
  MNCC_E_MISMATCH,  /* the self test got other numbers than the reference */
  MNCC_E_ABI        /* struct_size is wrong, or says fields this library does not know and they are set */
};

enum { MNCC_FLOAT32 = 0 }; /* mncc_tensor.dtype; values are only ever added */

/* How to run; NULL means serial. Fields are only ever appended: what struct_size leaves out counts as zero. */
typedef struct mncc_exec {
  uint32_t struct_size; /* sizeof(mncc_exec) where it was compiled */
  int32_t threads;      /* < 1 means 1; without parallel_for a run is serial whatever stands here */
  /* Calls task(arg, i) once for every i from 0 to count - 1, in any order and on any threads, and returns when all have
   * finished and their writes are visible. count is at most threads; tasks never wait for each other. */
  void (*parallel_for)(void *pool, void (*task)(void *arg, int32_t index), void *arg, int32_t count);
  void *pool;
  /* After every kernel, on the calling thread. Must return, and must not run anything on the same pool. */
  void (*on_kernel)(void *user, int32_t index, const char *name, uint64_t nanoseconds);
  void *user;
  char *message; /* NULL, or where the text of a failure goes; always ends with a zero byte */
  size_t message_bytes;
  void *device; /* CUDA: from NAME_device_open; else NULL */
} mncc_exec;

/* An input or output, dense, row major (NHWC). A quantised value q means scale * (q - zero_point). */
typedef struct mncc_tensor {
  uint32_t struct_size;
  const char *name;
  int32_t dtype, rank;
  const int32_t *shape;
  float scale;
  int32_t zero_point;
} mncc_tensor;

/* Everything about a library, without knowing its name at compile time. `input` and `output` are arrays; read their
 * elements by struct_size when the library may be newer than the program. */
typedef struct mncc_model {
  uint32_t struct_size, abi;
  const char *name, *hash;
  int32_t inputs, outputs;
  const mncc_tensor *input, *output;
  size_t (*workspace_bytes)(int32_t threads);
  mncc_status (*run)(const void *const *inputs, void *const *outputs, void *workspace, size_t workspace_bytes,
                     const mncc_exec *exec);
  mncc_status (*selftest)(void *workspace, size_t workspace_bytes, const mncc_exec *exec);
  const char *(*status_string)(mncc_status status);
} mncc_model;
#endif /* MNCC_TYPES_VERSION */
