/* The whole runtime of one library, as one translation unit: everything is static but the network's own functions, so
 * that libraries never meet in a symbol. Compiled for the baseline processor; only the kernels need more. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "structures.h"

#include "tables.h" /* includes the network's header: its functions are what the library exports */
#ifdef MNCC_PROBE
#include "probe.h"
#endif

#define PASTE_(a, b) a##_##b
#define PASTE(a, b) PASTE_(a, b)
#define MNCC_NAME(name) PASTE(MNCC_NETWORK, name)

#include "check.c"
#include "cpu.c"
#include "call.c"
#include "pool.c"
#include "run.c"
#include "selftest.c"
#ifdef MNCC_PROBE
#include "probe.c"
#endif

static const mncc_model model = {
    sizeof(mncc_model), MNCC_ABI, MNCC_MODEL_NAME, MNCC_MODEL_HASH, MNCC_INPUTS, MNCC_OUTPUTS, input_tensors,
    output_tensors,     workspace_for, run_network, selftest, status_string,
};

const mncc_model *MNCC_NAME(model)(void) { return &model; }

mncc_status MNCC_NAME(run)(MNCC_RUN_PARAMETERS, void *workspace, size_t workspace_bytes, const mncc_exec *exec) {
  const void *const inputs[MNCC_INPUTS] = {MNCC_RUN_INPUTS};
  void *const outputs[MNCC_OUTPUTS] = {MNCC_RUN_OUTPUTS};
  return run_network(inputs, outputs, workspace, workspace_bytes, exec);
}

mncc_exec *MNCC_NAME(pool_create)(int32_t threads) { return pool_create(threads); }

void MNCC_NAME(pool_destroy)(mncc_exec *exec) { pool_destroy(exec); }
