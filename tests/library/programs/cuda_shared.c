/* Kernels with more dynamic shared memory than a block has without asking, then with more than the device has. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "standin.h"
#include "toy.h"

int main(void) {
  char message[400] = "";
  mncc_exec exec;
  memset(&exec, 0, sizeof exec);
  exec.struct_size = sizeof exec;
  exec.device = toy_device_open(0, message, sizeof message);
  void *memory = new_workspace(TOY_SELFTEST_BYTES);
  CHECK(exec.device != NULL && toy_model()->selftest(memory, TOY_SELFTEST_BYTES, &exec) == MNCC_OK);
  toy_device_close(exec.device);
  free(memory);
  standin()->shared_bytes = 99 << 10;
  CHECK(toy_device_open(1, message, sizeof message) == NULL);
  CHECK(standin()->wrong == 0 && standin()->contexts == 0);
  puts(message);
  return 0;
}
