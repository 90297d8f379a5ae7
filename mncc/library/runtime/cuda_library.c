/* The whole runtime of one library for GPUs, as one translation unit, like library.c. It needs no header and no library
 * of CUDA: the driver is looked for when a device is opened. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "structures.h"

#include "cuda_structures.h"

#include "tables.h" /* includes the network's header: its functions are what the library exports */
#ifdef MNCC_PROBE
#include "cuda_probe.h"
#endif

#define PASTE_(a, b) a##_##b
#define PASTE(a, b) PASTE_(a, b)
#define MNCC_NAME(name) PASTE(MNCC_NETWORK, name)

#include "check.c"
#include "pool.c"
#include "cuda_device.h"
#include "cuda_errors.c"
#include "cuda_device.c"
#include "cuda_graph.c"
#include "cuda_run.c"
#include "selftest.c"
#include "interface.c"
#ifdef MNCC_PROBE
#include "cuda_probe.c"
#endif

void *MNCC_NAME(device_open)(int32_t ordinal, char *message, size_t message_bytes) {
  return device_open(ordinal, message, message_bytes);
}

void MNCC_NAME(device_close)(void *handle) { device_close(handle); }

const char *MNCC_NAME(device_message)(const void *handle) { return device_message(handle); }

mncc_status MNCC_NAME(run_device)(void *handle, MNCC_RUN_PARAMETERS, void *stream) {
  const void *const inputs[MNCC_INPUTS] = {MNCC_RUN_INPUTS};
  void *const outputs[MNCC_OUTPUTS] = {MNCC_RUN_OUTPUTS};
  return run_device(handle, inputs, outputs, stream);
}
