/* The whole runtime of one library, as one translation unit: everything is static but the network's own functions, so
 * that libraries never meet in a symbol. Compiled for the baseline processor; only the kernels need more. */
#define _POSIX_C_SOURCE 200809L
#define _DARWIN_C_SOURCE 1 /* sysctlbyname */
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

#include "cpu.c"
#include "variants.c"
#include "check.c"
#include "call.c"
#include "pool.c"
#include "run.c"
#include "selftest.c"
#include "interface.c"
#ifdef MNCC_PROBE
#include "probe.c"
#endif
