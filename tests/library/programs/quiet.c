/* A run allocates nothing, takes denormals for zero, and neither rounding mode nor flush-to-zero of the calling thread
 * changes its bits. */
#define _GNU_SOURCE
#include <fenv.h>
#include <stdatomic.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "check.h"
#include "toy.h"

/* glibc's own allocator under our names, to count what is asked of it. */
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
static atomic_int allocations;
void *malloc(size_t bytes) {
  atomic_fetch_add(&allocations, 1);
  return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes) {
  atomic_fetch_add(&allocations, 1);
  return __libc_calloc(count, bytes);
}
void *realloc(void *memory, size_t bytes) {
  atomic_fetch_add(&allocations, 1);
  return __libc_realloc(memory, bytes);
}

static float image[TOY_IMAGE_ELEMS], bias[TOY_BIAS_ELEMS], hidden[TOY_HIDDEN_ELEMS];
static float expected[TOY_SCORES_ELEMS], scores[TOY_SCORES_ELEMS];

/* Every way to run gives the expected bits. */
static void check_bits(void *workspace, size_t bytes, const mncc_exec *pool) {
  const mncc_exec *ways[] = {NULL, pool};
  for (int way = 0; way < 2; way++) {
    memset(scores, 0, sizeof scores);
    CHECK(toy_run(image, bias, hidden, scores, workspace, bytes, ways[way]) == MNCC_OK);
    CHECK(memcmp(scores, expected, sizeof scores) == 0);
  }
}

int main(void) {
  const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  const size_t bytes = toy_model()->workspace_bytes(3);
  void *workspace = new_workspace(bytes);
  mncc_exec *pool = toy_pool_create(3);
  const int before = atomic_load(&allocations);
  CHECK(pool != NULL && before > 0);
  for (size_t i = 0; i < TOY_IMAGE_ELEMS; i++) image[i] = (float)(i * 37 % 101) / 101.0f - 0.4f;
  CHECK(toy_run(image, bias, hidden, expected, workspace, bytes, NULL) == MNCC_OK);
  for (int i = 0; i < 4; i++) {
    CHECK(fesetround(modes[i]) == 0);
    check_bits(workspace, bytes, pool);
    CHECK(fegetround() == modes[i]);
  }
  fesetround(FE_TONEAREST);
#if defined(__x86_64__)
  for (unsigned mode = 0x1f80; mode <= 0x9fc0; mode += 0x8040) { /* FTZ and DAZ off, then on */
    _mm_setcsr(mode);
    check_bits(workspace, bytes, pool);
    CHECK(_mm_getcsr() == mode);
  }
  _mm_setcsr(0x1f80);
#endif
#if defined(__x86_64__) || defined(__aarch64__) || defined(__arm__)
  for (size_t i = 0; i < TOY_IMAGE_ELEMS; i++) image[i] = 1e-40f;
  CHECK(toy_run(image, bias, hidden, scores, workspace, bytes, pool) == MNCC_OK);
  for (size_t i = 0; i < TOY_HIDDEN_ELEMS; i++) CHECK(hidden[i] == 0.0f);
#endif
  char message[100] = "";
  mncc_exec exec = *pool;
  exec.message = message;
  exec.message_bytes = sizeof message;
  CHECK(toy_run(NULL, bias, hidden, scores, workspace, bytes, &exec) == MNCC_E_NULL && message[0] != 0);
  CHECK(atomic_load(&allocations) == before);
  toy_pool_destroy(pool);
  free(workspace);
  puts("ok");
  return 0;
}
