/* Runs a network once and says what that took. NETWORK is the library's name in small letters, WORDS in capitals:
 *
 *     main_ns first_ns main_cpu_ns first_cpu_ns again_ns faults peak_kib
 *
 * the monotonic clock and the process's CPU time as main begins and when the first result is there, how long a second
 * run takes, page faults and peak resident size up to the first result. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include HEADER

#define PASTE_(a, b) a##_##b
#define PASTE(a, b) PASTE_(a, b)

static float input[PASTE(WORDS, INPUT_ELEMS)], output[PASTE(WORDS, OUTPUT_ELEMS)];
static _Alignas(64) unsigned char workspace[PASTE(WORDS, WORKSPACE_BYTES)];

static long long now(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* VmHWM. Not getrusage's ru_maxrss, which begins with that of the program that called exec. */
static long peak_kib(void) {
  char line[256];
  long found = -1;
  FILE *status = fopen("/proc/self/status", "r");
  while (status != NULL && fgets(line, sizeof line, status) != NULL)
    if (strncmp(line, "VmHWM:", 6) == 0) found = strtol(line + 6, NULL, 10);
  if (status != NULL) fclose(status);
  return found;
}

static int run(void) { return PASTE(NETWORK, run)(input, output, workspace, sizeof workspace, NULL) != MNCC_OK; }

int main(void) {
  const long long begun = now(CLOCK_MONOTONIC), cpu_begun = now(CLOCK_PROCESS_CPUTIME_ID);
  for (size_t i = 0; i < sizeof input / sizeof *input; i++) input[i] = (float)(i % 255) / 127.0f - 1.0f;
  if (run()) return 1;
  const long long first = now(CLOCK_MONOTONIC), cpu_first = now(CLOCK_PROCESS_CPUTIME_ID);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const long peak = peak_kib();
  const long long again = now(CLOCK_MONOTONIC);
  if (run()) return 1;
  printf("%lld %lld %lld %lld %lld %ld %ld\n", begun, first, cpu_begun, cpu_first, now(CLOCK_MONOTONIC) - again,
         usage.ru_minflt + usage.ru_majflt, peak);
  return 0;
}
