/* See probe.h. */

int32_t MNCC_NAME(probe_at)(int32_t kernel, int32_t begin, int32_t end, const void *weights, void *const *tensors,
                            void *scratch) {
  if (kernel < 0 || kernel >= MNCC_KERNELS) return -1;
  if ((features_known ? feature_missing : missing_feature()) != NULL) return -2;
  const unsigned char *base = weights;
  const fp_mode before = fp_enter();
  const int32_t answer = call_kernel(kernels[kernel].function, kernels[kernel].tensors, begin, end,
                                     base + kernels[kernel].weights_offset, scratch, tensors);
  fp_leave(before);
  return answer;
}

int32_t MNCC_NAME(probe)(int32_t kernel, void *const *tensors, void *scratch) {
  if (kernel < 0 || kernel >= MNCC_KERNELS) return -1;
  const phase *phases = kernels[kernel].phases;
  return MNCC_NAME(probe_at)(kernel, 0, phases[0].items + phases[1].items, mncc_weights, tensors, scratch);
}

const void *MNCC_NAME(probe_weights)(size_t *bytes) {
  *bytes = MNCC_WEIGHTS_BYTES;
  return mncc_weights;
}
