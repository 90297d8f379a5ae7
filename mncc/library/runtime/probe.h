/* The extra functions of libNAME_probe.so, through which mncc verifies single kernels. Not part of the library that
 * people link. */
#pragma GCC visibility push(default)
#define PROBE_PASTE_(a, b) a##_##b
#define PROBE_PASTE(a, b) PROBE_PASTE_(a, b)
#define PROBE_NAME(name) PROBE_PASTE(MNCC_NETWORK, name)

/* Makes all runs of this process take the kernels of target number `index` of a library for several processors. Answers 0,
 * -1 where there is no such target, -2 where the processor lacks its instructions. No run may be in progress. */
int32_t PROBE_NAME(probe_select)(int32_t index);

/* The name of the target whose kernels runs take. */
const char *PROBE_NAME(probe_target)(void);

/* Runs kernel `kernel` on one image, all items. `tensors`: its inputs, what its phases share, its output. Answers the
 * kernel's answer, -1 where there is no such kernel, -2 where the processor lacks its instructions. */
int32_t PROBE_NAME(probe)(int32_t kernel, void *const *tensors, void *scratch);

/* The same for items begin to end, with the weights of the network at `weights`. */
int32_t PROBE_NAME(probe_at)(int32_t kernel, int32_t begin, int32_t end, const void *weights, void *const *tensors,
                             void *scratch);

/* The packed weights of the network and their size. */
const void *PROBE_NAME(probe_weights)(size_t *bytes);
#pragma GCC visibility pop
