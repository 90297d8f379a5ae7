/* What the driver says, in words that tell what to do. */

typedef struct cause {
  CUresult result;
  const char *advice;
} cause;

static const cause causes[] = {
    {CUDA_ERROR_OUT_OF_MEMORY, "close other handles and programs that use this device"},
    {CUDA_ERROR_STUB_LIBRARY, "the libcuda.so.1 found is the toolkit's stub: take its folder off LD_LIBRARY_PATH"},
    {CUDA_ERROR_DEVICE_UNAVAILABLE, "another process has the device to itself: see its compute mode in nvidia-smi"},
    {CUDA_ERROR_NO_DEVICE, "see nvidia-smi and CUDA_VISIBLE_DEVICES; a container needs the device passed in"},
    {CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "the driver was updated under the running kernel: restart the machine"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "the process's CUDA context is broken from here on: end the process"},
    {CUDA_ERROR_LAUNCH_TIMEOUT, "the process's CUDA context is broken from here on: end the process"},
    {CUDA_ERROR_LAUNCH_FAILED, "the process's CUDA context is broken from here on: end the process"},
    {CUDA_ERROR_CONTEXT_IS_DESTROYED, "something reset the device: close this handle and open another"},
    {CUDA_ERROR_INVALID_CONTEXT, "something reset the device: close this handle and open another"},
};

static const char *advice_for(CUresult result) {
  for (size_t i = 0; i < sizeof causes / sizeof *causes; i++)
    if (causes[i].result == result) return causes[i].advice;
  return NULL;
}

/* The status of a call that answered `result` (not CUDA_SUCCESS) when the library was `doing` something. */
static mncc_status driver_failed(const device *d, const mncc_exec *exec, CUresult result, const char *doing) {
  const char *name = NULL, *meaning = NULL, *advice = advice_for(result);
  if (d->driver.cuGetErrorName(result, &name) != CUDA_SUCCESS || name == NULL) name = "unknown to the driver";
  if (d->driver.cuGetErrorString(result, &meaning) != CUDA_SUCCESS || meaning == NULL) meaning = name;
  return fail(exec, MNCC_E_DEVICE, "%s on device %d%s%s%s: CUDA error %d, %s (%s)%s%s", doing, (int)d->ordinal,
              d->name[0] ? " (" : "", d->name, d->name[0] ? ")" : "", (int)result, meaning, name,
              advice == NULL ? "" : "; ", advice == NULL ? "" : advice);
}

/* The kernels cannot be loaded: whose age or architecture does not fit, the device's, the driver's or the library's. */
static mncc_status module_failed(const device *d, const mncc_exec *exec, CUresult result) {
  int version = 0, major = 0, minor = 0;
  const char *name = NULL;
  (void)d->driver.cuDriverGetVersion(&version);
  (void)d->driver.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, d->id);
  (void)d->driver.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, d->id);
  if (d->driver.cuGetErrorName(result, &name) != CUDA_SUCCESS || name == NULL) name = "unknown to the driver";
  const int unfit = result == CUDA_ERROR_NO_BINARY_FOR_GPU || result == CUDA_ERROR_INVALID_IMAGE ||
                    result == CUDA_ERROR_INVALID_PTX || result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION ||
                    result == CUDA_ERROR_JIT_COMPILER_NOT_FOUND;
  if (!unfit) return driver_failed(d, exec, result, "loading the kernels");
  if (version / 1000 < MNCC_CUDA_MAJOR)
    return fail(exec, MNCC_E_DEVICE,
                "the driver is too old: it knows CUDA %d.%d, and the kernels were compiled by CUDA %d (CUDA error %d, "
                "%s); update the driver to %s or newer",
                version / 1000, version % 1000 / 10, MNCC_CUDA_MAJOR, (int)result, name, MNCC_DRIVER);
  return fail(exec, MNCC_E_DEVICE,
              "no kernels for device %d (%s), sm_%d%d: this library holds %s (CUDA error %d, %s); build it with --target "
              "cuda-sm%d%d",
              (int)d->ordinal, d->name, major, minor, MNCC_ARCHITECTURES, (int)result, name, major, minor);
}
