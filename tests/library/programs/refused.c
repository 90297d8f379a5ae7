/* A library whose kernels need instructions that this processor lacks, or whose kernel fails: prints the status and the
 * message of a run and of the self test. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "toy.h"

int main(void) {
  static float image[TOY_IMAGE_ELEMS], bias[TOY_BIAS_ELEMS], hidden[TOY_HIDDEN_ELEMS], scores[TOY_SCORES_ELEMS];
  char message[200] = "";
  void *workspace = new_workspace(TOY_SELFTEST_BYTES);
  mncc_exec exec;
  memset(&exec, 0, sizeof exec);
  exec.struct_size = sizeof exec;
  exec.message = message;
  exec.message_bytes = sizeof message;
  printf("run %d %s\n", (int)toy_run(image, bias, hidden, scores, workspace, TOY_WORKSPACE_BYTES, &exec), message);
  message[0] = 0;
  printf("selftest %d %s\n", (int)toy_model()->selftest(workspace, TOY_SELFTEST_BYTES, &exec), message);
  free(workspace);
  return 0;
}
