/* Measures kernels of one task: the task's own (number 0, the reference) and candidates, which compute the same with other
 * tiles. Linked with their objects, the task's inputs, packed weights and expected output into one executable, which needs
 * nothing else on the device; mncc/tuning/program.py writes race.h and weights.bin, mncc/tuning/race.py reads the answer.
 *
 *   harness KERNEL SECONDS count                        runs the kernel for the counting plugin (devices/count_blocks.c)
 *   harness KERNEL SECONDS LEAST MOST NANOSECONDS LIMIT  races it against the reference
 *
 * SIGPROF ends the process when it has used so many SECONDS of CPU time, of which a machine that stands still for a while
 * takes none. Otherwise it writes lines and exits with 0:
 *
 *   error LARGEST PAST OUTSIDE
 *     The largest error as a share of the largest expected element; the share of elements whose error is past the median's
 *     tolerance; how many elements or bytes were written that are none of the kernel's, in the output and beside it.
 *   wrong
 *     These are past the tolerances, and nothing follows but `end`.
 *   round REFERENCE CANDIDATE
 *     Nanoseconds of CPU time, both after the caches were filled with something else and the inputs were
 *     written anew, as kernels find them in a network. At least LEAST rounds, at most MOST, and between them until so many
 *     NANOSECONDS have passed; none after the LEASTth where the fastest candidate took LIMIT times the fastest reference.
 *   end
 *
 * Status 4: memory lacks; 2: not called like this. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#ifdef __linux__
#include <signal.h>
#include <sys/prctl.h>
#endif
#include <time.h>
#include <unistd.h>

#include "structures.h"
#include "cpu.c"
#include "call.c"

/* Memory that kernels see, and where in the data lies what it begins with, or for the output what is expected there. */
typedef struct memory {
  int64_t at, bytes;
} memory;

/* What a kernel's pointer points to: a byte of one of the memories. */
typedef struct pointer {
  int32_t memory;
  int64_t start;
} pointer;

typedef struct racer {
  kernel_function function;
  int32_t items;
  int64_t weights, scratch_bytes, shared_bytes;
} racer;

#include "race.h"

extern const unsigned char mncc_weights[];

enum { MARK = 0x6d6e0000, NOT_COUNTED = 0, COUNTED = 1 };
enum { ALIGN = 64, PAGE = 4096, GUARD = 0xa5, NAN_BYTE = 0xff, LINE = 64, MOST_CACHE = 1 << 24 };
enum { EXIT_USAGE = 2, EXIT_MEMORY = 4 };

/* Memory between two pages of guard bytes. */
typedef struct guarded {
  unsigned char *bytes;
  size_t size;
} guarded;

static guarded given[RACE_GIVEN], output, shared, scratch;

static guarded room(size_t size) {
  void *memory = NULL;
  const size_t whole = (size + ALIGN - 1) / ALIGN * ALIGN;
  if (posix_memalign(&memory, PAGE, whole + 2 * PAGE) != 0) {
    fprintf(stderr, "harness: no memory for %zu bytes\n", size);
    exit(EXIT_MEMORY);
  }
  memset(memory, GUARD, whole + 2 * PAGE);
  memset((unsigned char *)memory + PAGE, NAN_BYTE, size);
  return (guarded){(unsigned char *)memory + PAGE, size};
}

/* Guard bytes that are no longer what they were. */
static long trespassed(const guarded *memory) {
  const size_t whole = (memory->size + ALIGN - 1) / ALIGN * ALIGN;
  long count = 0;
  for (size_t i = 0; i < PAGE; i++) count += memory->bytes[i - PAGE] != GUARD;
  for (size_t i = memory->size; i < whole + PAGE; i++) count += memory->bytes[i] != GUARD;
  return count;
}

static void make_room(const racer *a, const racer *b) {
  const int64_t most_scratch = a->scratch_bytes > b->scratch_bytes ? a->scratch_bytes : b->scratch_bytes;
  const int64_t most_shared = a->shared_bytes > b->shared_bytes ? a->shared_bytes : b->shared_bytes;
  for (int i = 0; i < RACE_GIVEN; i++) {
    given[i] = room((size_t)race_given[i].bytes);
    memcpy(given[i].bytes, mncc_weights + race_given[i].at, given[i].size);
  }
  output = room((size_t)race_output.bytes);
  scratch = room((size_t)most_scratch);
  shared = room((size_t)most_shared);
}

static int32_t run(const racer *r) {
  void *tensors[RACE_INPUTS + 2];
  int32_t count = 0;
  for (int i = 0; i < RACE_INPUTS; i++) tensors[count++] = given[race_inputs[i].memory].bytes + race_inputs[i].start;
  if (r->shared_bytes > 0) tensors[count++] = shared.bytes;
  tensors[count++] = output.bytes + RACE_OUTPUT_START;
  const fp_mode before = fp_enter();
  const int32_t answer =
      call_kernel(r->function, count, 0, r->items, mncc_weights + r->weights, scratch.bytes, tensors);
  fp_leave(before);
  return answer;
}

static float half_to_float(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  float value = ldexpf((float)(exponent ? fraction + 1024 : fraction), (exponent ? exponent : 1) - 25);
  if (exponent == 31) value = fraction ? NAN : INFINITY;
  return half & 0x8000 ? -value : value;
}

static float output_at(int64_t i) {
  float value;
  uint16_t half;
  if (RACE_OUTPUT_EACH == 2) {
    memcpy(&half, output.bytes + 2 * i, sizeof half);
    return half_to_float(half);
  }
  memcpy(&value, output.bytes + 4 * i, sizeof value);
  return value;
}

/* Whether an element has no bit but those it began with. */
static int is_untouched(int64_t i) {
  for (int b = 0; b < RACE_OUTPUT_EACH; b++)
    if (output.bytes[i * RACE_OUTPUT_EACH + b] != NAN_BYTE) return 0;
  return 1;
}

/* Compares the output, which began as NaNs, with what is expected: infinity is anything, NaN must not be touched. */
static int is_right(void) {
  double largest = 0.0;
  long elements = 0, past = 0, outside = trespassed(&output) + trespassed(&shared) + trespassed(&scratch);
  for (int i = 0; i < RACE_GIVEN; i++)
    outside += trespassed(&given[i]) + (memcmp(given[i].bytes, mncc_weights + race_given[i].at, given[i].size) != 0);
  for (int64_t i = 0; i < race_output.bytes / RACE_OUTPUT_EACH; i++) {
    float wanted;
    memcpy(&wanted, mncc_weights + race_output.at + 4 * i, sizeof wanted);
    if (isinf(wanted)) continue;
    if (isnan(wanted)) {
      outside += !is_untouched(i);
      continue;
    }
    double error = fabs((double)output_at(i) - wanted) / RACE_SCALE;
    if (!(error < INFINITY)) error = INFINITY;
    largest = error > largest ? error : largest;
    past += error >= RACE_MEDIAN;
    elements++;
  }
  const double share = elements > 0 ? (double)past / (double)elements : 0.0;
  printf("error %.3e %.6f %ld\n", largest, share, outside);
  return largest < RACE_LARGEST && share < 0.5 && outside == 0;
}

/* Of the L2 cache: what the system says, else what the target does. */
static size_t cache_bytes(void) {
  long told = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
  told = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
  return told > 0 && told <= MOST_CACHE ? (size_t)told : RACE_CACHE;
}

/* Fills the L2 cache with something else, then writes the inputs anew, as the kernel that makes them would. */
static void evict(void) {
  static guarded other;
  if (other.bytes == NULL) other = room(cache_bytes());
  for (size_t i = 0; i < other.size; i += LINE) (void)*(volatile unsigned char *)(other.bytes + i);
  for (int i = 0; i < RACE_GIVEN; i++) {
    volatile unsigned char *bytes = given[i].bytes;
    for (size_t b = 0; b < given[i].size; b += LINE) bytes[b] = bytes[b];
  }
}

/* Of the only thread: while ITIMER_PROF runs, Linux counts the process's time in ticks. */
static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t timed(const racer *r) {
  evict();
  const uint64_t began = now();
  run(r);
  return now() - began;
}

static void race(const racer *candidate, long least, long most, uint64_t nanoseconds, double limit) {
  const racer *reference = &racers[0];
  const uint64_t began = now();
  uint64_t best[2] = {UINT64_MAX, UINT64_MAX};
  timed(reference);
  timed(candidate);
  for (long round = 0; round < least || (round < most && now() - began < nanoseconds); round++) {
    uint64_t took[2];
    for (int turn = 0; turn < 2; turn++) { /* who begins changes, for each finds what the other left behind */
      const int which = (int)((round + turn) & 1);
      took[which] = timed(which ? candidate : reference);
      if (took[which] < best[which]) best[which] = took[which];
    }
    printf("round %llu %llu\n", (unsigned long long)took[0], (unsigned long long)took[1]);
    if (round + 1 >= least && (double)best[1] > limit * (double)best[0]) return;
  }
}

static void mark(int tag) { close(MARK + tag); }

int main(int count, char **arguments) {
  const int counts = count == 4 && strcmp(arguments[3], "count") == 0;
  const int number = count > 1 ? atoi(arguments[1]) : -1;
  if ((!counts && count != 7) || number < 0 || number >= RACE_KERNELS) return EXIT_USAGE;
  const struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody waits for the result then */
#endif
  const struct itimerval limit = {{0, 0}, {atoi(arguments[2]), 0}};
  setitimer(ITIMER_PROF, &limit, NULL);
  const racer *candidate = &racers[number];
  make_room(candidate, &racers[0]);
  const int32_t answer = run(candidate);
  if (!is_right() || answer != 0) {
    printf("wrong\n");
  } else if (counts) {
    mark(NOT_COUNTED);
    run(candidate);
    mark(COUNTED);
  } else {
    race(candidate, atol(arguments[3]), atol(arguments[4]), strtoull(arguments[5], NULL, 10), atof(arguments[6]));
  }
  printf("end\n");
  return 0;
}
