/* What a caller may get wrong, and how it is told. */

static const char *status_string(mncc_status status) {
  switch (status) {
    case MNCC_OK: return "ok";
    case MNCC_E_NULL: return "a pointer that is needed is NULL";
    case MNCC_E_ALIGN: return "a buffer is not aligned, or an output overlaps another buffer";
    case MNCC_E_WORKSPACE: return "the workspace is too small, or overlaps an input";
    case MNCC_E_CPU: return "this processor or operating system lacks instructions that the kernels need";
    case MNCC_E_DEVICE: return "a kernel or its device failed";
    case MNCC_E_MISMATCH: return "the self test got other numbers than the reference";
    case MNCC_E_ABI: return "mncc_exec has a struct_size that this library cannot read";
    default: return "unknown status";
  }
}

__attribute__((format(printf, 3, 4)))
static mncc_status fail(const mncc_exec *exec, mncc_status status, const char *format, ...) {
  if (exec->message != NULL && exec->message_bytes > 0) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(exec->message, exec->message_bytes, format, arguments);
    va_end(arguments);
  }
  return status;
}

/* Copies the caller's mncc_exec, whose size may be an older or a newer version's, into today's. Fields that it lacks
 * are zero; fields that we lack must be zero, as we would ignore what they ask for. */
static mncc_status read_exec(const mncc_exec *given, mncc_exec *exec) {
  memset(exec, 0, sizeof *exec);
  if (given != NULL) {
    const size_t bytes = given->struct_size;
    if (bytes < offsetof(mncc_exec, parallel_for) || bytes % sizeof(void *) != 0) return MNCC_E_ABI;
    memcpy(exec, given, bytes < sizeof *exec ? bytes : sizeof *exec);
    for (size_t i = sizeof *exec; i < bytes; i++)
      if (((const unsigned char *)given)[i] != 0)
        return fail(exec, MNCC_E_ABI, "mncc_exec sets a field that this library does not know (it knows %zu bytes)",
                    sizeof *exec);
  }
  exec->struct_size = sizeof *exec;
  if (exec->threads < 1 || exec->parallel_for == NULL) exec->threads = 1;
  return MNCC_OK;
}

/* Bytes of workspace for a number of threads: the tensors, then one scratch a task. */
static size_t workspace_for(int32_t threads) {
  const size_t tasks = threads < 1 ? 1 : (size_t)threads;
  size_t tensors = MNCC_TENSOR_BYTES, scratch = MNCC_SCRATCH_BYTES; /* const, gcc would see a division by a GPU's 0 */
  if (scratch > 0 && tasks > (SIZE_MAX - tensors) / scratch) return SIZE_MAX;
  return tensors + tasks * scratch;
}

static size_t tensor_size(const mncc_tensor *tensor) {
  size_t bytes = sizeof(float);
  for (int32_t i = 0; i < tensor->rank; i++) bytes *= (size_t)tensor->shape[i];
  return bytes;
}

static int overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes) {
  const uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
  return x < y ? y - x < a_bytes : x - y < b_bytes;
}

static mncc_status check_buffer(const mncc_exec *exec, const char *what, const mncc_tensor *tensor, const void *data) {
  if (data == NULL) return fail(exec, MNCC_E_NULL, "%s \"%s\" is NULL", what, tensor->name);
  if ((uintptr_t)data % sizeof(float) != 0)
    return fail(exec, MNCC_E_ALIGN, "%s \"%s\" at %p is not aligned to %zu bytes", what, tensor->name, data,
                sizeof(float));
  return MNCC_OK;
}

/* The workspace: present, aligned, large enough for exec's threads. */
static mncc_status check_workspace(const mncc_exec *exec, const void *workspace, size_t given, size_t needed) {
  if (needed == 0) return MNCC_OK;
  if (workspace == NULL) return fail(exec, MNCC_E_NULL, "the workspace is NULL");
  if ((uintptr_t)workspace % 64 != 0)
    return fail(exec, MNCC_E_ALIGN, "the workspace at %p is not aligned to 64 bytes", workspace);
  if (given < needed)
    return fail(exec, MNCC_E_WORKSPACE, "the workspace has %zu bytes; %d thread%s need%s %zu", given,
                (int)exec->threads, exec->threads == 1 ? "" : "s", exec->threads == 1 ? "s" : "", needed);
  return MNCC_OK;
}

/* An output must not overlap an input, another output or the workspace. Two inputs may be one buffer. */
static mncc_status check_overlaps(const mncc_exec *exec, const void *const *inputs, void *const *outputs,
                                  const void *workspace, size_t workspace_bytes) {
  for (int32_t o = 0; o < MNCC_OUTPUTS; o++) {
    const size_t bytes = tensor_size(&output_tensors[o]);
    for (int32_t i = 0; i < MNCC_INPUTS; i++)
      if (overlap(outputs[o], bytes, inputs[i], tensor_size(&input_tensors[i])))
        return fail(exec, MNCC_E_ALIGN, "output \"%s\" overlaps input \"%s\"", output_tensors[o].name,
                    input_tensors[i].name);
    for (int32_t p = 0; p < o; p++)
      if (overlap(outputs[o], bytes, outputs[p], tensor_size(&output_tensors[p])))
        return fail(exec, MNCC_E_ALIGN, "output \"%s\" overlaps output \"%s\"", output_tensors[o].name,
                    output_tensors[p].name);
    if (overlap(outputs[o], bytes, workspace, workspace_bytes))
      return fail(exec, MNCC_E_ALIGN, "output \"%s\" overlaps the workspace", output_tensors[o].name);
  }
  for (int32_t i = 0; i < MNCC_INPUTS; i++)
    if (overlap(inputs[i], tensor_size(&input_tensors[i]), workspace, workspace_bytes))
      return fail(exec, MNCC_E_WORKSPACE, "the workspace overlaps input \"%s\"", input_tensors[i].name);
  return MNCC_OK;
}

static mncc_status check_arguments(const mncc_exec *exec, const void *const *inputs, void *const *outputs,
                                   const void *workspace, size_t workspace_bytes) {
  const size_t needed = workspace_for(exec->threads);
  mncc_status status;
  if (inputs == NULL || outputs == NULL) return fail(exec, MNCC_E_NULL, "the array of buffers is NULL");
  for (int32_t i = 0; i < MNCC_INPUTS; i++)
    if ((status = check_buffer(exec, "input", &input_tensors[i], inputs[i])) != MNCC_OK) return status;
  for (int32_t o = 0; o < MNCC_OUTPUTS; o++)
    if ((status = check_buffer(exec, "output", &output_tensors[o], outputs[o])) != MNCC_OK) return status;
  if ((status = check_workspace(exec, workspace, workspace_bytes, needed)) != MNCC_OK) return status;
  return check_overlaps(exec, inputs, outputs, workspace, needed);
}
