/* emulated BEGIN END FILE...: calls `kernel` with the contents of the files, which it changes where they lie. Every file
 * is whole pages, its array at their end on a 64-byte line; the array's bytes come after a colon: FILE:BYTES. Behind the
 * last page there is one that nobody may touch. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int32_t kernel(int32_t begin, int32_t end, void *, void *, void *, void *, void *, void *);

static void *mapped(char *argument) {
  char *colon = strrchr(argument, ':');
  size_t bytes = strtoul(colon + 1, NULL, 10), page = 4096, span = (bytes + page - 1) / page * page;
  *colon = 0;
  int file = open(argument, O_RDWR);
  char *all = mmap(NULL, span + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (file < 0 || all == MAP_FAILED) abort();
  if (mmap(all, span, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED) abort();
  close(file);
  return all + span - (bytes + 63) / 64 * 64;
}

int main(int count, char **arguments) {
  void *arrays[6] = {0};
  if (count < 3 || count > 9) return 2;
  for (int i = 3; i < count; i++) arrays[i - 3] = mapped(arguments[i]);
  return kernel(atoi(arguments[1]), atoi(arguments[2]), arrays[0], arrays[1], arrays[2], arrays[3], arrays[4], arrays[5]);
}
