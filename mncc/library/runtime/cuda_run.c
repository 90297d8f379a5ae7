/* Runs: with host pointers through mncc_exec.device, or with device pointers on the caller's stream. */

/* What a run needs beside its buffers, as a CPU's library needs instructions: selftest.c asks it too. */
static mncc_status check_cpu(const mncc_exec *exec) {
  const device *d = exec->device;
  if (d == NULL)
    return fail(exec, MNCC_E_DEVICE, "mncc_exec.device is NULL: this library runs on a GPU; pass what "
                MNCC_MODEL_NAME "_device_open returned");
  if (d->model != &model)
    return fail(exec, MNCC_E_DEVICE, "mncc_exec.device is no handle of this library: pass what "
                MNCC_MODEL_NAME "_device_open returned");
  return MNCC_OK;
}

/* Which of the self test's expectations are its own: all. */
static int32_t variant_number(void) { return 0; }

/* The kernels one by one, with the time of each. The driver orders graphs of one handle among themselves, but not these
 * launches: what run_device has left to other streams, which uses the same memory, is waited for. */
static mncc_status profile_kernels(device *d, const mncc_exec *exec) {
  mncc_status status;
  TRY(cuCtxSynchronize(), "waiting for the runs before");
  for (int32_t i = 0; i < MNCC_LAUNCHES; i++) {
    float milliseconds = 0;
    TRY(cuEventRecord(d->begin, d->stream), "timing a kernel");
    if ((status = launch_kernel(d, exec, &launches[i], d->own, d->stream)) != MNCC_OK) return status;
    TRY(cuEventRecord(d->end, d->stream), "timing a kernel");
    TRY(cuEventSynchronize(d->end), launches[i].name);
    TRY(cuEventElapsedTime(&milliseconds, d->begin, d->end), "timing a kernel");
    exec->on_kernel(exec->user, i, launches[i].name, (uint64_t)((double)milliseconds * 1e6));
  }
  return MNCC_OK;
}

static mncc_status enqueue_run(device *d, const mncc_exec *exec, const void *const *inputs, void *const *outputs) {
  mncc_status status;
  for (int32_t i = 0; i < MNCC_INPUTS; i++)
    TRY(cuMemcpyHtoDAsync_v2(d->own[i], inputs[i], tensor_size(&input_tensors[i]), d->stream), "copying an input");
  if (exec->on_kernel != NULL) {
    if ((status = profile_kernels(d, exec)) != MNCC_OK) return status;
  } else {
    if ((status = bind_buffers(d, exec, d->own)) != MNCC_OK) return status;
    TRY(cuGraphLaunch(d->replay, d->stream), "running the network");
  }
  for (int32_t o = 0; o < MNCC_OUTPUTS; o++)
    TRY(cuMemcpyDtoHAsync_v2(outputs[o], d->own[MNCC_INPUTS + o], tensor_size(&output_tensors[o]), d->stream),
        "copying an output");
  return MNCC_OK;
}

static mncc_status run_network(const void *const *inputs, void *const *outputs, void *workspace, size_t workspace_bytes,
                               const mncc_exec *given) {
  mncc_exec exec;
  mncc_status status;
  if ((status = read_exec(given, &exec)) != MNCC_OK) return status;
  if ((status = check_cpu(&exec)) != MNCC_OK) return status;
  if ((status = check_arguments(&exec, inputs, outputs, workspace, workspace_bytes)) != MNCC_OK) return status;
  device *d = exec.device;
  pthread_mutex_lock(&d->mutex);
  if ((status = enter_context(d, &exec)) == MNCC_OK) {
    status = enqueue_run(d, &exec, inputs, outputs);
    /* after a failure too: what is under way still uses the caller's buffers */
    const CUresult finished = d->driver.cuStreamSynchronize(d->stream);
    if (status == MNCC_OK && finished != CUDA_SUCCESS) status = driver_failed(d, &exec, finished, "running the network");
    leave_context(d);
  }
  pthread_mutex_unlock(&d->mutex);
  return status;
}

typedef mncc_status (*buffer_check)(const device *d, const mncc_exec *exec, const char *what, const mncc_tensor *tensor,
                                    const void *data);

/* A pointer that kernels can be given. */
static mncc_status check_pointer(const device *d, const mncc_exec *exec, const char *what, const mncc_tensor *tensor,
                                 const void *data) {
  (void)d;
  if (data == NULL) return fail(exec, MNCC_E_NULL, "%s \"%s\" is NULL", what, tensor->name);
  if ((uintptr_t)data % DEVICE_ALIGN != 0)
    return fail(exec, MNCC_E_ALIGN, "%s \"%s\" at %p is not aligned to %d bytes", what, tensor->name, data,
                (int)DEVICE_ALIGN);
  return MNCC_OK;
}

/* Memory that the driver knows, on this device. */
static mncc_status check_memory(const device *d, const mncc_exec *exec, const char *what, const mncc_tensor *tensor,
                                const void *data) {
  int ordinal = 0;
  unsigned int managed = 0;
  const CUdeviceptr address = (CUdeviceptr)(uintptr_t)data;
  if (d->driver.cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address) != CUDA_SUCCESS)
    return fail(exec, MNCC_E_DEVICE,
                "%s \"%s\" at %p is no device memory; host memory goes through " MNCC_MODEL_NAME "_run", what,
                tensor->name, data);
  (void)d->driver.cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, address);
  if (ordinal != (int)d->ordinal && !managed)
    return fail(exec, MNCC_E_DEVICE, "%s \"%s\" lies on device %d; this handle is of device %d", what, tensor->name,
                ordinal, (int)d->ordinal);
  return MNCC_OK;
}

static mncc_status check_each(const device *d, const mncc_exec *exec, const void *const *inputs, void *const *outputs,
                              buffer_check check) {
  mncc_status status;
  for (int32_t i = 0; i < MNCC_INPUTS; i++)
    if ((status = check(d, exec, "input", &input_tensors[i], inputs[i])) != MNCC_OK) return status;
  for (int32_t o = 0; o < MNCC_OUTPUTS; o++)
    if ((status = check(d, exec, "output", &output_tensors[o], outputs[o])) != MNCC_OK) return status;
  return MNCC_OK;
}

static mncc_status run_on_stream(device *d, const mncc_exec *exec, const void *const *inputs, void *const *outputs,
                                 CUstream stream) {
  CUdeviceptr buffers[BUFFERS];
  CUcontext context = NULL;
  mncc_status status;
  for (int32_t i = 0; i < MNCC_INPUTS; i++) buffers[i] = (CUdeviceptr)(uintptr_t)inputs[i];
  for (int32_t o = 0; o < MNCC_OUTPUTS; o++) buffers[MNCC_INPUTS + o] = (CUdeviceptr)(uintptr_t)outputs[o];
  if ((status = check_each(d, exec, inputs, outputs, check_pointer)) != MNCC_OK) return status;
  if ((status = check_overlaps(exec, inputs, outputs, NULL, 0)) != MNCC_OK) return status;
  /* The driver is asked about buffers only when they are new to the graph. */
  if (memcmp(d->bound, buffers, sizeof buffers) != 0 &&
      (status = check_each(d, exec, inputs, outputs, check_memory)) != MNCC_OK)
    return status;
  TRY(cuStreamGetCtx(stream, &context), "asking for the stream's context");
  if (context != d->context)
    return fail(exec, MNCC_E_DEVICE,
                "the stream belongs to another context than device %d's primary one, which this handle uses",
                (int)d->ordinal);
  if ((status = bind_buffers(d, exec, buffers)) != MNCC_OK) return status;
  TRY(cuGraphLaunch(d->replay, stream), "running the network");
  return MNCC_OK;
}

static mncc_status run_device(void *handle, const void *const *inputs, void *const *outputs, void *stream) {
  device *d = handle;
  mncc_exec exec;
  mncc_status status;
  if (d == NULL) return MNCC_E_NULL;
  if (d->model != &model) return MNCC_E_DEVICE;
  memset(&exec, 0, sizeof exec);
  exec.message = d->message;
  exec.message_bytes = sizeof d->message;
  pthread_mutex_lock(&d->mutex);
  d->message[0] = '\0';
  if ((status = enter_context(d, &exec)) == MNCC_OK) {
    status = run_on_stream(d, &exec, inputs, outputs, stream);
    leave_context(d);
  }
  pthread_mutex_unlock(&d->mutex);
  return status;
}
