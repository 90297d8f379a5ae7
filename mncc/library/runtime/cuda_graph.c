/* The network as one graph of the driver's: captured when the device is opened, replayed by every run. */

/* A launch's parameters as the driver takes them: an array of pointers to the values. */
typedef struct parameters {
  CUdeviceptr values[MNCC_MAX_ARGUMENTS];
  void *pointers[MNCC_MAX_ARGUMENTS];
} parameters;

/* `buffers`: where the inputs and outputs are. */
static void fill_parameters(const device *d, const launch *l, const CUdeviceptr *buffers, parameters *p) {
  for (int32_t i = 0; i < l->arguments; i++) {
    const argument *a = &launch_arguments[l->first_argument + i];
    CUdeviceptr base = a->base == ARGUMENT_WEIGHTS ? d->weights : d->workspace;
    if (a->base == ARGUMENT_INPUT) base = buffers[a->index];
    if (a->base == ARGUMENT_OUTPUT) base = buffers[MNCC_INPUTS + a->index];
    p->values[i] = base + (CUdeviceptr)a->offset;
    p->pointers[i] = &p->values[i];
  }
}

static mncc_status launch_kernel(device *d, const mncc_exec *exec, const launch *l, const CUdeviceptr *buffers,
                                 CUstream stream) {
  parameters p;
  fill_parameters(d, l, buffers, &p);
  TRY(cuLaunchKernel(d->functions[l->function], l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1],
                     l->block[2], l->shared_bytes, stream, p.pointers, NULL),
      l->name);
  return MNCC_OK;
}

/* Launches every kernel into a stream that captures, and keeps the nodes that come of it. */
static mncc_status capture_launches(device *d, const mncc_exec *exec) {
  mncc_status status;
  for (int32_t i = 0; i < MNCC_LAUNCHES; i++) {
    CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
    cuuint64_t id;
    CUgraph graph;
    const CUgraphNode *last = NULL;
    size_t count = 0;
    if ((status = launch_kernel(d, exec, &launches[i], d->own, d->stream)) != MNCC_OK) return status;
    TRY(cuStreamGetCaptureInfo_v2(d->stream, &capture, &id, &graph, &last, &count), "capturing the network");
    if (capture != CU_STREAM_CAPTURE_STATUS_ACTIVE || count != 1)
      return fail(exec, MNCC_E_DEVICE, "the driver did not capture kernel \"%s\"", launches[i].name);
    d->nodes[i] = last[0];
  }
  return MNCC_OK;
}

static mncc_status capture_network(device *d, const mncc_exec *exec) {
  TRY(cuStreamBeginCapture_v2(d->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "beginning to capture the network");
  const mncc_status status = capture_launches(d, exec);
  const CUresult ended = d->driver.cuStreamEndCapture(d->stream, &d->graph); /* in any case: else the stream hangs on */
  if (status != MNCC_OK) return status;
  if (ended != CUDA_SUCCESS) return driver_failed(d, exec, ended, "capturing the network");
  TRY(cuGraphInstantiateWithFlags(&d->replay, d->graph, 0), "making a graph of the network");
  memcpy(d->bound, d->own, sizeof d->bound);
  return MNCC_OK;
}

/* Has the graph read and write `buffers` from its next launch on; launches that run already keep theirs. */
static mncc_status bind_buffers(device *d, const mncc_exec *exec, const CUdeviceptr *buffers) {
  CUdeviceptr before[BUFFERS];
  if (memcmp(d->bound, buffers, sizeof d->bound) == 0) return MNCC_OK;
  memcpy(before, d->bound, sizeof before);
  memset(d->bound, 0, sizeof d->bound); /* where this stops half way, the next run sets every node */
  for (int32_t i = 0; i < MNCC_LAUNCHES; i++) {
    const launch *l = &launches[i];
    int changes = 0;
    for (int32_t n = 0; n < l->arguments; n++) {
      const argument *a = &launch_arguments[l->first_argument + n];
      if (a->base != ARGUMENT_INPUT && a->base != ARGUMENT_OUTPUT) continue;
      const int32_t buffer = a->base == ARGUMENT_INPUT ? a->index : MNCC_INPUTS + a->index;
      changes |= before[buffer] != buffers[buffer];
    }
    if (!changes) continue;
    parameters p;
    fill_parameters(d, l, buffers, &p);
    const CUDA_KERNEL_NODE_PARAMS_v2 node = {d->functions[l->function], l->grid[0],  l->grid[1],  l->grid[2],
                                             l->block[0],               l->block[1], l->block[2], l->shared_bytes,
                                             p.pointers,                NULL,        NULL,        NULL};
    TRY(cuGraphExecKernelNodeSetParams_v2(d->replay, d->nodes[i], &node), "giving the network its buffers");
  }
  memcpy(d->bound, buffers, sizeof d->bound);
  return MNCC_OK;
}
