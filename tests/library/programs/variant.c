/* Which target's kernels a library runs, whether they are right, and what a run and any run on one thread need. */
#include <stdio.h>
#include <stdlib.h>

#include "toy.h"

const char *toy_probe_target(void);

int main(void) {
  char message[200] = "";
  mncc_exec exec = {0};
  exec.struct_size = sizeof exec;
  exec.message = message;
  exec.message_bytes = sizeof message;
  void *workspace = NULL;
  if (posix_memalign(&workspace, 64, TOY_SELFTEST_BYTES) != 0) return 1;
  const mncc_status status = toy_model()->selftest(workspace, TOY_SELFTEST_BYTES, &exec);
  printf("%s %d %u of %u %s\n", toy_probe_target(), (int)status, (unsigned)toy_model()->workspace_bytes(1),
         (unsigned)TOY_WORKSPACE_BYTES, message);
  free(workspace);
  return 0;
}
