/* What the test programs share: a check that says where it failed, and buffers. */
#ifndef CHECK_H
#define CHECK_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);         \
      exit(1);                                                                \
    }                                                                         \
  } while (0)

/* A workspace filled with NaNs: nothing may be read before it was written. */
static void *new_workspace(size_t bytes) {
  void *memory = NULL;
  CHECK(posix_memalign(&memory, 64, bytes) == 0);
  memset(memory, 0xff, bytes);
  return memory;
}
#endif
