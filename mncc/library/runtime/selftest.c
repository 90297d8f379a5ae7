/* Runs the network on a made input and compares a few elements of the outputs with the float64 reference. */

/* Element `element` of input `tensor`, in [-1, 1), exact in float: MurmurHash3's 32-bit finalizer over the position.
 * mncc/library/selftest.py computes the same numbers. */
static float selftest_input(uint32_t tensor, uint32_t element) {
  uint32_t h = element * 2654435761u + tensor * 2246822507u + 1u;
  h ^= h >> 16;
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  h ^= h >> 16;
  return (float)(h >> 8) * (1.0f / 8388608.0f) - 1.0f;
}

static size_t round_up_64(size_t bytes) { return (bytes + 63) / 64 * 64; }

static mncc_status compare_goldens(const mncc_exec *exec, void *const *outputs) {
  for (int32_t i = 0; i < MNCC_GOLDENS; i++) {
    const golden *g = &goldens[i];
    if (g->variant >= 0 && g->variant != variant_number()) continue;
    const float got = ((const float *)outputs[g->tensor])[g->element];
    const double error = (double)got - (double)g->value;
    if (!(error <= g->tolerance && -error <= g->tolerance)) /* so written that NaN fails */
      return fail(exec, MNCC_E_MISMATCH, "output \"%s\", element %lld: got %.9g, expected %.9g +- %.3g",
                  output_tensors[g->tensor].name, (long long)g->element, (double)got, (double)g->value, g->tolerance);
  }
  return MNCC_OK;
}

/* What the self test needs for a run on one thread. */
static size_t selftest_needs(void) {
  size_t bytes = workspace_for(1);
  for (int32_t i = 0; i < MNCC_INPUTS; i++) bytes += round_up_64(tensor_size(&input_tensors[i]));
  for (int32_t o = 0; o < MNCC_OUTPUTS; o++) bytes += round_up_64(tensor_size(&output_tensors[o]));
  return bytes;
}

/* The workspace holds the inputs, the outputs, then the workspace of the run. Where it is too small for all of exec's
 * threads, fewer are used: the bits are the same. */
static mncc_status selftest(void *workspace, size_t workspace_bytes, const mncc_exec *given) {
  const void *inputs[MNCC_INPUTS];
  void *outputs[MNCC_OUTPUTS];
  mncc_exec exec;
  mncc_status status;
  if ((status = read_exec(given, &exec)) != MNCC_OK) return status;
  if ((status = check_cpu(&exec)) != MNCC_OK) return status;
  const int32_t threads = exec.threads;
  exec.threads = 1;
  size_t needed = selftest_needs(), scratch = MNCC_SCRATCH_BYTES; /* const? see workspace_for */
  if ((status = check_workspace(&exec, workspace, workspace_bytes, needed)) != MNCC_OK) return status;
  exec.threads = threads;
  if (scratch > 0 && (workspace_bytes - needed) / scratch < (size_t)(threads - 1))
    exec.threads = 1 + (int32_t)((workspace_bytes - needed) / scratch);

  unsigned char *next = workspace;
  for (int32_t i = 0; i < MNCC_INPUTS; i++) {
    const size_t bytes = tensor_size(&input_tensors[i]);
    for (size_t e = 0; e < bytes / sizeof(float); e++)
      ((float *)(void *)next)[e] = selftest_input((uint32_t)i, (uint32_t)e);
    inputs[i] = next;
    next += round_up_64(bytes);
  }
  for (int32_t o = 0; o < MNCC_OUTPUTS; o++) {
    outputs[o] = next;
    next += round_up_64(tensor_size(&output_tensors[o]));
  }
  const size_t left = workspace_bytes - (size_t)(next - (unsigned char *)workspace);
  if ((status = run_network(inputs, outputs, next, left, &exec)) != MNCC_OK) return status;
  return compare_goldens(&exec, outputs);
}
