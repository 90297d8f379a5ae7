/* Opening and closing a device. */

/* Answers `status` of a call of the driver that fails; `d` and `exec` are in scope. */
#define TRY(call, doing)                                                                   \
  do {                                                                                     \
    const CUresult result_ = d->driver.call;                                               \
    if (result_ != CUDA_SUCCESS) return driver_failed(d, exec, result_, doing);            \
  } while (0)

/* The driver's functions. The driver stays loaded until the program ends: it has threads of its own. */
static mncc_status find_driver(driver *found, const mncc_exec *exec) {
  found->library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (found->library == NULL) {
    const char *reason = dlerror();
    return fail(exec, MNCC_E_DEVICE,
                "no NVIDIA driver on this machine (%s): this library runs on an NVIDIA GPU; install the driver, %s or "
                "newer, or build for a CPU with another --target",
                reason == NULL ? "libcuda.so.1 cannot be loaded" : reason, MNCC_DRIVER);
  }
  /* By way of an object pointer: POSIX has dlsym answer functions so, and ISO C has no conversion. */
#define FIND(function, parameters)                                                                            \
  *(void **)(void *)&found->function = dlsym(found->library, #function);                                      \
  if (found->function == NULL)                                                                                \
    return fail(exec, MNCC_E_DEVICE, "the NVIDIA driver is too old: it has no " #function "; update it to %s or newer", \
                MNCC_DRIVER);
  DRIVER_FUNCTIONS(FIND)
#undef FIND
  return MNCC_OK;
}

static mncc_status find_device(device *d, const mncc_exec *exec) {
  int devices = 0;
  TRY(cuInit(0), "starting the driver");
  TRY(cuDeviceGetCount(&devices), "counting the devices");
  if (devices == 0)
    return fail(exec, MNCC_E_DEVICE, "the NVIDIA driver finds no device: %s", advice_for(CUDA_ERROR_NO_DEVICE));
  if (d->ordinal < 0 || d->ordinal >= devices)
    return fail(exec, MNCC_E_DEVICE, "there is no device %d: the driver has %d, counted from 0", (int)d->ordinal,
                devices);
  TRY(cuDeviceGet(&d->id, d->ordinal), "asking for the device");
  TRY(cuDeviceGetName(d->name, (int)sizeof d->name, d->id), "asking for the name");
  return MNCC_OK;
}

static mncc_status load_kernels(device *d, const mncc_exec *exec) {
  int shared = 0;
  const CUresult loaded = d->driver.cuModuleLoadData(&d->module, mncc_fatbin);
  if (loaded != CUDA_SUCCESS) return module_failed(d, exec, loaded);
  TRY(cuDeviceGetAttribute(&shared, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, d->id),
      "asking for the shared memory");
  for (int32_t i = 0; i < MNCC_FUNCTIONS; i++) {
    const gpu_function *f = &gpu_functions[i];
    if (f->shared_bytes > shared)
      return fail(exec, MNCC_E_DEVICE,
                  "kernel \"%s\" needs %d bytes of shared memory, and a block on device %d (%s) can have %d: name this "
                  "device's own --target in the build",
                  f->symbol, (int)f->shared_bytes, (int)d->ordinal, d->name, shared);
    TRY(cuModuleGetFunction(&d->functions[i], d->module, f->symbol), "looking for a kernel");
    if (f->shared_bytes > DEFAULT_SHARED_BYTES)
      TRY(cuFuncSetAttribute(d->functions[i], CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, f->shared_bytes),
          "asking for shared memory");
  }
  return MNCC_OK;
}

static mncc_status allocate(device *d, const mncc_exec *exec, CUdeviceptr *memory, size_t bytes, const char *what) {
  size_t available = 0, all = 0;
  if (bytes == 0) return MNCC_OK;
  const CUresult result = d->driver.cuMemAlloc_v2(memory, bytes);
  if (result == CUDA_SUCCESS) return MNCC_OK;
  *memory = 0;
  if (result != CUDA_ERROR_OUT_OF_MEMORY || d->driver.cuMemGetInfo_v2(&available, &all) != CUDA_SUCCESS)
    return driver_failed(d, exec, result, "allocating memory");
  return fail(exec, MNCC_E_DEVICE, "no memory for %s on device %d (%s): %zu bytes asked for, %zu of %zu free; %s", what,
              (int)d->ordinal, d->name, bytes, available, all, advice_for(result));
}

static mncc_status upload(device *d, const mncc_exec *exec) {
  mncc_status status;
  if ((status = allocate(d, exec, &d->weights, MNCC_WEIGHTS_BYTES, "the weights")) != MNCC_OK) return status;
  if ((status = allocate(d, exec, &d->workspace, MNCC_DEVICE_BYTES, "the workspace")) != MNCC_OK) return status;
  for (int32_t i = 0; i < BUFFERS; i++) {
    const mncc_tensor *tensor = i < MNCC_INPUTS ? &input_tensors[i] : &output_tensors[i - MNCC_INPUTS];
    if ((status = allocate(d, exec, &d->own[i], tensor_size(tensor), tensor->name)) != MNCC_OK) return status;
  }
  TRY(cuStreamCreate(&d->stream, CU_STREAM_NON_BLOCKING), "making a stream");
  TRY(cuEventCreate(&d->begin, CU_EVENT_DEFAULT), "making an event");
  TRY(cuEventCreate(&d->end, CU_EVENT_DEFAULT), "making an event");
  if (MNCC_WEIGHTS_BYTES > 0)
    TRY(cuMemcpyHtoDAsync_v2(d->weights, mncc_weights, MNCC_WEIGHTS_BYTES, d->stream), "uploading the weights");
  TRY(cuStreamSynchronize(d->stream), "uploading the weights");
  return MNCC_OK;
}

/* Makes the device's context the calling thread's. The thread's own comes back with leave_context. */
static mncc_status enter_context(const device *d, const mncc_exec *exec) {
  TRY(cuCtxPushCurrent_v2(d->context), "entering the context");
  return MNCC_OK;
}

static void leave_context(const device *d) {
  CUcontext ours;
  (void)d->driver.cuCtxPopCurrent_v2(&ours);
}

static mncc_status capture_network(device *d, const mncc_exec *exec);

static mncc_status fill_device(device *d, const mncc_exec *exec) {
  mncc_status status;
  if ((status = find_driver(&d->driver, exec)) != MNCC_OK) return status;
  if ((status = find_device(d, exec)) != MNCC_OK) return status;
  TRY(cuDevicePrimaryCtxRetain(&d->context, d->id), "making a context");
  if ((status = enter_context(d, exec)) != MNCC_OK) return status;
  status = load_kernels(d, exec);
  if (status == MNCC_OK) status = upload(d, exec);
  if (status == MNCC_OK) status = capture_network(d, exec);
  leave_context(d);
  return status;
}

/* Frees what there is of a device, whole or half made. What fails here cannot be mended, and is passed over. */
static void device_close(void *handle) {
  device *d = handle;
  if (d == NULL) return;
  const driver *cuda = &d->driver;
  if (d->context != NULL) {
    const int entered = cuda->cuCtxPushCurrent_v2(d->context) == CUDA_SUCCESS;
    if (d->stream != NULL) (void)cuda->cuStreamSynchronize(d->stream);
    if (d->replay != NULL) (void)cuda->cuGraphExecDestroy(d->replay);
    if (d->graph != NULL) (void)cuda->cuGraphDestroy(d->graph);
    if (d->begin != NULL) (void)cuda->cuEventDestroy_v2(d->begin);
    if (d->end != NULL) (void)cuda->cuEventDestroy_v2(d->end);
    if (d->stream != NULL) (void)cuda->cuStreamDestroy_v2(d->stream);
    for (int32_t i = 0; i < BUFFERS; i++)
      if (d->own[i] != 0) (void)cuda->cuMemFree_v2(d->own[i]);
    if (d->workspace != 0) (void)cuda->cuMemFree_v2(d->workspace);
    if (d->weights != 0) (void)cuda->cuMemFree_v2(d->weights);
    if (d->module != NULL) (void)cuda->cuModuleUnload(d->module);
    if (entered) leave_context(d);
    (void)cuda->cuDevicePrimaryCtxRelease_v2(d->id);
  }
  if (cuda->library != NULL) dlclose(cuda->library);
  pthread_mutex_destroy(&d->mutex);
  free(d);
}

static void *device_open(int32_t ordinal, char *message, size_t message_bytes) {
  mncc_exec exec;
  memset(&exec, 0, sizeof exec);
  exec.message = message;
  exec.message_bytes = message_bytes;
  device *d = calloc(1, sizeof *d);
  if (d == NULL) {
    (void)fail(&exec, MNCC_E_DEVICE, "no memory for a handle of %zu bytes", sizeof *d);
    return NULL;
  }
  pthread_mutex_init(&d->mutex, NULL);
  d->model = &model;
  d->ordinal = ordinal;
  if (fill_device(d, &exec) != MNCC_OK) {
    device_close(d);
    return NULL;
  }
  return d;
}

static const char *device_message(const void *handle) { return handle == NULL ? "" : ((const device *)handle)->message; }
