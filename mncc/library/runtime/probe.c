/* See probe.h. */

int32_t MNCC_NAME(probe_select)(int32_t index) {
  if (index < 0 || index >= MNCC_VARIANTS) return -1;
  if (missing_feature(&variants[index]) != NULL) return -2;
  chosen = &variants[index];
  chosen_misses = NULL;
  is_chosen = 1;
  return 0;
}

const char *MNCC_NAME(probe_target)(void) { return current_variant()->target; }

int32_t MNCC_NAME(probe_at)(int32_t kernel, int32_t begin, int32_t end, const void *weights, void *const *tensors,
                            void *scratch) {
  const variant *v = current_variant();
  if (kernel < 0 || kernel >= v->kernel_count) return -1;
  if (lacking() != NULL) return -2;
  const unsigned char *base = weights;
  const fp_mode before = fp_enter();
  const int32_t answer = call_kernel(v->kernels[kernel].function, v->kernels[kernel].tensors, begin, end,
                                     base + v->kernels[kernel].weights_offset, scratch, tensors);
  fp_leave(before);
  return answer;
}

int32_t MNCC_NAME(probe)(int32_t kernel, void *const *tensors, void *scratch) {
  const variant *v = current_variant();
  if (kernel < 0 || kernel >= v->kernel_count) return -1;
  const phase *phases = v->kernels[kernel].phases;
  return MNCC_NAME(probe_at)(kernel, 0, phases[0].items + phases[1].items, mncc_weights, tensors, scratch);
}

const void *MNCC_NAME(probe_weights)(size_t *bytes) {
  *bytes = MNCC_WEIGHTS_BYTES;
  return mncc_weights;
}
