/* The extra function of libNAME_probe.so of a library for GPUs, through which mncc verifies single kernels. Not part of
 * the library that people link. */
#pragma GCC visibility push(default)
#define PROBE_PASTE_(a, b) a##_##b
#define PROBE_PASTE(a, b) PROBE_PASTE_(a, b)
#define PROBE_NAME(name) PROBE_PASTE(MNCC_NETWORK, name)

/* Runs launch number `number` alone, on device memory of its own. Argument i points `starts[i]` bytes into a copy of the
 * `bytes[i]` bytes of `memory[i]`, which come back changed; arguments of one memory share it. Where memory[i] is NULL the
 * argument is the network's own: its weights. NAME_device_message has the text of a failure. */
mncc_status PROBE_NAME(probe_launch)(void *device, int32_t number, void *const *memory, const size_t *bytes,
                                     const size_t *starts);
#pragma GCC visibility pop
