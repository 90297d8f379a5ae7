/* Kernels with more dynamic shared memory than a block has without asking, then with more than the device has; and what
 * the driver says where nobody has asked. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "cuda_driver.h"
#include "standin.h"
#include "toy.h"

/* A fatbin of one header, for sm_80. */
static const unsigned char image[80] = {0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0, 64, 0, 0, 0, 0, 0, 0, 0,
                                        2,    0,    0,    0,    64, [44] = 80};

#define DECLARE(name, parameters) CUresult name parameters;
DRIVER_FUNCTIONS(DECLARE)

static CUresult launch(CUfunction function, unsigned bytes, CUdeviceptr memory) {
  void *parameters[] = {&memory, &memory, &memory};
  return cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, bytes, NULL, parameters, NULL);
}

static void asks_before_it_launches(void) {
  const int bytes = 64 << 10;
  CUcontext context;
  CUmodule module;
  CUfunction dense;
  CUdeviceptr memory;
  CHECK(cuInit(0) == 0 && cuDevicePrimaryCtxRetain(&context, 0) == 0 && cuCtxPushCurrent_v2(context) == 0);
  CHECK(cuModuleLoadData(&module, image) == 0 && cuModuleGetFunction(&dense, module, "toy_dense") == 0);
  CHECK(cuMemAlloc_v2(&memory, 4096) == 0);
  CHECK(launch(dense, 48 << 10, memory) == CUDA_SUCCESS && standin()->wrong == 0);
  CHECK(launch(dense, (48 << 10) + 1, memory) == CUDA_ERROR_INVALID_VALUE && standin()->wrong == 1);
  CHECK(cuFuncSetAttribute(dense, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes) == 0);
  CHECK(launch(dense, (unsigned)bytes, memory) == CUDA_SUCCESS && cuStreamSynchronize(NULL) == 0);
  CHECK(launch(dense, (unsigned)bytes + 1, memory) == CUDA_ERROR_INVALID_VALUE && standin()->wrong == 2);
  CHECK(strstr(standin()->first_wrong, "more shared memory than the function has") != NULL);
  standin()->wrong = 0;
  CHECK(cuMemFree_v2(memory) == 0 && cuModuleUnload(module) == 0);
  CHECK(cuCtxPopCurrent_v2(&context) == 0 && cuDevicePrimaryCtxRelease_v2(0) == 0);
}

int main(void) {
  char message[400] = "";
  mncc_exec exec;
  asks_before_it_launches();
  memset(&exec, 0, sizeof exec);
  exec.struct_size = sizeof exec;
  exec.device = toy_device_open(0, message, sizeof message);
  void *memory = new_workspace(TOY_SELFTEST_BYTES);
  CHECK(exec.device != NULL && toy_model()->selftest(memory, TOY_SELFTEST_BYTES, &exec) == MNCC_OK);
  toy_device_close(exec.device);
  free(memory);
  standin()->shared_bytes = 99 << 10;
  CHECK(toy_device_open(1, message, sizeof message) == NULL);
  CHECK(standin()->wrong == 0 && standin()->contexts == 0);
  puts(message);
  return 0;
}
