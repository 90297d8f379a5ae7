/* See cuda_probe.h. */

/* Which argument had the memory of argument `i` first. */
static int32_t first_with(void *const *memory, int32_t i) {
  int32_t first = 0;
  while (memory[first] != memory[i]) first++;
  return first;
}

static mncc_status probe_run(device *d, const mncc_exec *exec, const launch *l, void *const *memory,
                             const size_t *bytes, const size_t *starts, CUdeviceptr *own) {
  parameters p;
  mncc_status status;
  fill_parameters(d, l, d->own, &p);
  for (int32_t i = 0; i < l->arguments; i++) {
    if (memory[i] == NULL) continue;
    const int32_t first = first_with(memory, i);
    if (first == i) {
      if ((status = allocate(d, exec, &own[i], bytes[i], "a probe")) != MNCC_OK) return status;
      TRY(cuMemcpyHtoDAsync_v2(own[i], memory[i], bytes[i], d->stream), "copying to a probe");
    }
    p.values[i] = own[first] + starts[i];
  }
  TRY(cuLaunchKernel(d->functions[l->function], l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1],
                     l->block[2], l->shared_bytes, d->stream, p.pointers, NULL),
      l->name);
  for (int32_t i = 0; i < l->arguments; i++)
    if (own[i] != 0) TRY(cuMemcpyDtoHAsync_v2(memory[i], own[i], bytes[i], d->stream), "copying from a probe");
  return MNCC_OK;
}

mncc_status MNCC_NAME(probe_launch)(void *handle, int32_t number, void *const *memory, const size_t *bytes,
                                    const size_t *starts) {
  CUdeviceptr own[MNCC_MAX_ARGUMENTS] = {0};
  device *d = handle;
  mncc_exec exec;
  mncc_status status;
  memset(&exec, 0, sizeof exec);
  exec.device = handle;
  if ((status = check_cpu(&exec)) != MNCC_OK) return status;
  exec.message = d->message;
  exec.message_bytes = sizeof d->message;
  if (number < 0 || number >= MNCC_LAUNCHES) return fail(&exec, MNCC_E_NULL, "there is no launch %d", (int)number);
  pthread_mutex_lock(&d->mutex);
  if ((status = enter_context(d, &exec)) == MNCC_OK) {
    status = probe_run(d, &exec, &launches[number], memory, bytes, starts, own);
    const CUresult finished = d->driver.cuStreamSynchronize(d->stream);
    if (status == MNCC_OK && finished != CUDA_SUCCESS) status = driver_failed(d, &exec, finished, "running a kernel");
    for (int32_t i = 0; i < MNCC_MAX_ARGUMENTS; i++)
      if (own[i] != 0) (void)d->driver.cuMemFree_v2(own[i]);
    leave_context(d);
  }
  pthread_mutex_unlock(&d->mutex);
  return status;
}
