/* The state of one handle: what NAME_device_open makes and NAME_device_close frees. */
#include "cuda_driver.h"

enum {
  BUFFERS = MNCC_INPUTS + MNCC_OUTPUTS,
  MESSAGE_BYTES = 512,
  DEFAULT_SHARED_BYTES = 48 * 1024, /* of a block: what a function has without asking for more */
  DEVICE_ALIGN = 16                 /* of device pointers: kernels load four floats at once */
};

/* weights.S and fatbin.S */
__attribute__((visibility("hidden"))) extern const unsigned char mncc_weights[];
__attribute__((visibility("hidden"))) extern const unsigned char mncc_fatbin[];

typedef struct driver {
  void *library; /* of dlopen */
#define POINTER(name, parameters) CUresult(*name) parameters;
  DRIVER_FUNCTIONS(POINTER)
#undef POINTER
} driver;

typedef struct device {
  const mncc_model *model; /* first: by this a run knows a handle of its own library */
  pthread_mutex_t mutex;   /* held by a run; callers that meet in one handle queue */
  driver driver;
  int32_t ordinal;
  CUdevice id;
  CUcontext context; /* the primary one, which the program's other CUDA code shares */
  CUmodule module;
  CUfunction functions[MNCC_FUNCTIONS];
  CUstream stream; /* of runs with host pointers */
  CUevent begin, end;
  CUdeviceptr weights, workspace;
  CUdeviceptr own[BUFFERS]; /* inputs, then outputs, of runs with host pointers */
  CUgraph graph;
  CUgraphNode nodes[MNCC_LAUNCHES];
  CUgraphExec replay;
  CUdeviceptr bound[BUFFERS]; /* the inputs and outputs that the graph reads and writes now; 0: not known */
  char name[96];
  char message[MESSAGE_BYTES];
} device;

static const mncc_model model; /* interface.c */
