/* Measures what one core, or several at once, can do in fused multiply-adds: the limit that mncc bench compares with.
 *
 *   fma_peak THREADS MILLISECONDS
 *
 * prints the GFLOP/s of all threads together (a multiply-add counts as two) and the instructions that gave the most.
 * One thread is timed by its CPU time, several by the wall clock from the first start to the last end.
 * The widest registers of the CPU are found at run time, so the program is compiled without any -march; only armv7
 * needs one with NEON and VFPv4. With -DFMA_PEAK_PART it is a part of another program, which calls fma_peak().
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fma_peak.h"

enum { ROUNDS = 4096, MAX_THREADS = 1024, CLOCKS = 32 };

/* Enough independent sums to hide the latency of the instruction, few enough to stay in registers. */
#define REPEAT_12(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define REPEAT_24(X) REPEAT_12(X) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)

typedef struct {
    const char *name;
    float (*rounds)(float start); /* runs ROUNDS rounds; the result depends on all of them */
    double flops;                 /* of one call */
} variant;

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) static float rounds_avx512(float start) {
    const __m512 factor = _mm512_set1_ps(0.999f), term = _mm512_set1_ps(0.1f);
#define DECLARE(i) __m512 sum##i = _mm512_set1_ps(start + (float)i);
    REPEAT_24(DECLARE)
#undef DECLARE
    for (int round = 0; round < ROUNDS; round++) {
#define STEP(i) sum##i = _mm512_fmadd_ps(sum##i, factor, term);
        REPEAT_24(STEP)
#undef STEP
    }
    __m512 total = _mm512_setzero_ps();
#define COLLECT(i) total = _mm512_add_ps(total, sum##i);
    REPEAT_24(COLLECT)
#undef COLLECT
    float lanes[16], result = 0;
    _mm512_storeu_ps(lanes, total);
    for (int i = 0; i < 16; i++) result += lanes[i];
    return result;
}

__attribute__((target("avx2,fma"))) static float rounds_avx2(float start) {
    const __m256 factor = _mm256_set1_ps(0.999f), term = _mm256_set1_ps(0.1f);
#define DECLARE(i) __m256 sum##i = _mm256_set1_ps(start + (float)i);
    REPEAT_12(DECLARE)
#undef DECLARE
    for (int round = 0; round < ROUNDS; round++) {
#define STEP(i) sum##i = _mm256_fmadd_ps(sum##i, factor, term);
        REPEAT_12(STEP)
#undef STEP
    }
    __m256 total = _mm256_setzero_ps();
#define COLLECT(i) total = _mm256_add_ps(total, sum##i);
    REPEAT_12(COLLECT)
#undef COLLECT
    float lanes[8], result = 0;
    _mm256_storeu_ps(lanes, total);
    for (int i = 0; i < 8; i++) result += lanes[i];
    return result;
}

static int variants(variant *found) {
    int count = 0;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f"))
        found[count++] = (variant){"avx512", rounds_avx512, 2.0 * 16 * 24 * ROUNDS};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found[count++] = (variant){"avx2", rounds_avx2, 2.0 * 8 * 12 * ROUNDS};
    return count;
}

#elif defined(__aarch64__) || (defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA))
#include <arm_neon.h>

#ifdef __aarch64__
#define REPEAT_NEON REPEAT_24
#else
#define REPEAT_NEON REPEAT_12 /* 16 registers */
#endif
enum { NEON_SUMS = sizeof(void *) == 8 ? 24 : 12 };

static float rounds_neon(float start) {
    const float32x4_t factor = vdupq_n_f32(0.999f), term = vdupq_n_f32(0.1f);
#define DECLARE(i) float32x4_t sum##i = vdupq_n_f32(start + (float)i);
    REPEAT_NEON(DECLARE)
#undef DECLARE
    for (int round = 0; round < ROUNDS; round++) {
        /* The sum is the destructive operand of fmla, so factor * sum + term would cost a move: sum += f * t. */
#define STEP(i) sum##i = vfmaq_f32(sum##i, factor, term);
        REPEAT_NEON(STEP)
#undef STEP
    }
    float32x4_t total = vdupq_n_f32(0);
#define COLLECT(i) total = vaddq_f32(total, sum##i);
    REPEAT_NEON(COLLECT)
#undef COLLECT
    float lanes[4];
    vst1q_f32(lanes, total);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

static int variants(variant *found) {
    found[0] = (variant){"neon", rounds_neon, 2.0 * 4 * NEON_SUMS * ROUNDS};
    return 1;
}

#else
static int variants(variant *found) {
    (void)found;
    return 0;
}
#endif

/* Where threads wait for each other once; macOS has no pthread_barrier_t. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t all_here;
    int missing;
} meeting;

static void meet(meeting *all) {
    pthread_mutex_lock(&all->lock);
    if (--all->missing == 0) pthread_cond_broadcast(&all->all_here);
    while (all->missing > 0) pthread_cond_wait(&all->all_here, &all->lock);
    pthread_mutex_unlock(&all->lock);
}

/* Nobody else comes. */
static void dismiss(meeting *all) {
    pthread_mutex_lock(&all->lock);
    all->missing = 0;
    pthread_cond_broadcast(&all->all_here);
    pthread_mutex_unlock(&all->lock);
}

typedef struct {
    meeting *start;
    const variant *variant;
    double seconds;
    double began, ended, flops;
    float result;
} worker;

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *work(void *argument) {
    worker *self = argument;
    self->result = self->variant->rounds(1.0f); /* wakes the wide units up */
    clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
    if (self->start) {
        clock = CLOCK_MONOTONIC;
        meet(self->start);
    }
    /* The clock of a thread's CPU time is a system call, which takes some percent of a call of the rounds: it is asked
     * after ever more of these, until they take a good part of the time. */
    int calls = 1;
    self->began = self->ended = now(clock);
    while (self->ended - self->began < self->seconds) {
        if (self->ended - self->began < self->seconds / CLOCKS) calls *= 2;
        for (int i = 0; i < calls; i++) self->result += self->variant->rounds(self->result * 1e-9f);
        self->flops += calls * self->variant->flops;
        self->ended = now(clock);
    }
    return NULL;
}

/* GFLOP/s of all threads together, or a negative number where threads cannot be made. */
static double measure(const variant *variant, int threads, double seconds) {
    static worker workers[MAX_THREADS];
    static pthread_t handles[MAX_THREADS];
    static meeting start = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    start.missing = threads;
    for (int i = 0; i < threads; i++)
        workers[i] = (worker){threads > 1 ? &start : NULL, variant, seconds, 0, 0, 0, 0};
    for (int i = 1; i < threads; i++) {
        if (pthread_create(&handles[i], NULL, work, &workers[i])) {
            dismiss(&start);
            while (--i > 0) pthread_join(handles[i], NULL);
            return -1;
        }
    }
    work(&workers[0]);
    for (int i = 1; i < threads; i++) pthread_join(handles[i], NULL);
    double began = workers[0].began, ended = workers[0].ended, flops = 0;
    volatile float kept = 0;
    for (int i = 0; i < threads; i++) {
        if (workers[i].began < began) began = workers[i].began;
        if (workers[i].ended > ended) ended = workers[i].ended;
        flops += workers[i].flops;
        kept = kept + workers[i].result;
    }
    return flops / (ended - began) * 1e-9;
}

double fma_peak(int threads, double seconds, const char **name) {
    variant found[4];
    const int many = variants(found);
    double best = 0;
    *name = "none";
    for (int i = 0; i < many; i++) {
        const double gflops = measure(&found[i], threads, seconds / many);
        if (gflops < 0) return -1;
        if (gflops > best) best = gflops, *name = found[i].name;
    }
    return best;
}

#ifndef FMA_PEAK_PART
int main(int count, char **arguments) {
    const int threads = count == 3 ? atoi(arguments[1]) : 0;
    const double seconds = count == 3 ? 1e-3 * atof(arguments[2]) : 0;
    if (threads < 1 || threads > MAX_THREADS || !(seconds > 0)) {
        fprintf(stderr, "usage: fma_peak THREADS MILLISECONDS\n");
        return 2;
    }
    const char *name;
    const double gflops = fma_peak(threads, seconds, &name);
    if (gflops < 0) {
        fprintf(stderr, "fma_peak: %d threads cannot be made\n", threads);
        return 3;
    }
    printf("%.3f %s\n", gflops, name);
    return 0;
}
#endif
