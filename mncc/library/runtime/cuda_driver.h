/* What of the CUDA driver's interface a library uses, so that it compiles without the toolkit and loads without the
 * driver. Names, types and numbers are those of cuda.h (tests compare them); where that header was included before,
 * only the list of functions is read. */
#ifndef MNCC_CUDA_DRIVER_H
#define MNCC_CUDA_DRIVER_H

#ifndef CUDA_VERSION
#include <stddef.h>
#include <stdint.h>

typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef uint64_t cuuint64_t;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUkern_st *CUkernel;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphNode_st *CUgraphNode;
typedef struct CUgraphExec_st *CUgraphExec;

typedef enum {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_STUB_LIBRARY = 34,
  CUDA_ERROR_DEVICE_UNAVAILABLE = 46,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_INVALID_CONTEXT = 201,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_INVALID_PTX = 218,
  CUDA_ERROR_JIT_COMPILER_NOT_FOUND = 221,
  CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700,
  CUDA_ERROR_LAUNCH_TIMEOUT = 702,
  CUDA_ERROR_CONTEXT_IS_DESTROYED = 709,
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
  CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
  CUDA_ERROR_UNKNOWN = 999
} CUresult;

typedef enum {
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97
} CUdevice_attribute;
typedef enum { CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8 } CUfunction_attribute;
typedef enum { CU_POINTER_ATTRIBUTE_IS_MANAGED = 8, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9 } CUpointer_attribute;
typedef enum { CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1 } CUstreamCaptureMode;
typedef enum { CU_STREAM_CAPTURE_STATUS_NONE = 0, CU_STREAM_CAPTURE_STATUS_ACTIVE = 1 } CUstreamCaptureStatus;
enum { CU_STREAM_NON_BLOCKING = 1, CU_EVENT_DEFAULT = 0 };

typedef struct {
  CUfunction func;
  unsigned int gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
  void **kernelParams, **extra;
  CUkernel kern;
  CUcontext ctx;
} CUDA_KERNEL_NODE_PARAMS_v2;
#endif

/* X(name that libcuda.so.1 exports, types of its parameters); all answer a CUresult. The newest are of CUDA 12.0. */
#define DRIVER_FUNCTIONS(X)                                                                                         \
  X(cuInit, (unsigned int))                                                                                         \
  X(cuDriverGetVersion, (int *))                                                                                    \
  X(cuGetErrorName, (CUresult, const char **))                                                                      \
  X(cuGetErrorString, (CUresult, const char **))                                                                    \
  X(cuDeviceGetCount, (int *))                                                                                      \
  X(cuDeviceGet, (CUdevice *, int))                                                                                 \
  X(cuDeviceGetName, (char *, int, CUdevice))                                                                       \
  X(cuDeviceGetAttribute, (int *, CUdevice_attribute, CUdevice))                                                    \
  X(cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice))                                                              \
  X(cuDevicePrimaryCtxRelease_v2, (CUdevice))                                                                       \
  X(cuCtxPushCurrent_v2, (CUcontext))                                                                               \
  X(cuCtxPopCurrent_v2, (CUcontext *))                                                                              \
  X(cuCtxSynchronize, (void))                                                                                       \
  X(cuModuleLoadData, (CUmodule *, const void *))                                                                   \
  X(cuModuleUnload, (CUmodule))                                                                                     \
  X(cuModuleGetFunction, (CUfunction *, CUmodule, const char *))                                                    \
  X(cuFuncSetAttribute, (CUfunction, CUfunction_attribute, int))                                                    \
  X(cuMemAlloc_v2, (CUdeviceptr *, size_t))                                                                         \
  X(cuMemFree_v2, (CUdeviceptr))                                                                                    \
  X(cuMemGetInfo_v2, (size_t *, size_t *))                                                                          \
  X(cuMemcpyHtoDAsync_v2, (CUdeviceptr, const void *, size_t, CUstream))                                            \
  X(cuMemcpyDtoHAsync_v2, (void *, CUdeviceptr, size_t, CUstream))                                                  \
  X(cuPointerGetAttribute, (void *, CUpointer_attribute, CUdeviceptr))                                              \
  X(cuStreamCreate, (CUstream *, unsigned int))                                                                     \
  X(cuStreamDestroy_v2, (CUstream))                                                                                 \
  X(cuStreamSynchronize, (CUstream))                                                                                \
  X(cuStreamGetCtx, (CUstream, CUcontext *))                                                                        \
  X(cuStreamBeginCapture_v2, (CUstream, CUstreamCaptureMode))                                                       \
  X(cuStreamEndCapture, (CUstream, CUgraph *))                                                                      \
  X(cuStreamGetCaptureInfo_v2,                                                                                      \
    (CUstream, CUstreamCaptureStatus *, cuuint64_t *, CUgraph *, const CUgraphNode **, size_t *))                   \
  X(cuEventCreate, (CUevent *, unsigned int))                                                                       \
  X(cuEventDestroy_v2, (CUevent))                                                                                   \
  X(cuEventRecord, (CUevent, CUstream))                                                                             \
  X(cuEventSynchronize, (CUevent))                                                                                  \
  X(cuEventElapsedTime, (float *, CUevent, CUevent))                                                                \
  X(cuLaunchKernel, (CUfunction, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, \
                     unsigned int, CUstream, void **, void **))                                                     \
  X(cuGraphInstantiateWithFlags, (CUgraphExec *, CUgraph, unsigned long long))                                      \
  X(cuGraphExecKernelNodeSetParams_v2, (CUgraphExec, CUgraphNode, const CUDA_KERNEL_NODE_PARAMS_v2 *))              \
  X(cuGraphLaunch, (CUgraphExec, CUstream))                                                                         \
  X(cuGraphExecDestroy, (CUgraphExec))                                                                              \
  X(cuGraphDestroy, (CUgraph))

#endif
