/* How many sums a register tile needs: the inner loop of a product for AVX2, from the L1 cache, without anything else.

     cc -O3 -mavx2 -mfma bench/sums.c -o sums && ./sums

   A tile is `pixels` x `vectors` of eight channels: a step loads `vectors` of weights and, for every pixel, one input for
   all lanes, and multiplies each pair. Printed is the share of the peak, which is that of the same multiplications of
   registers alone; medians of many runs, tiles in turn. */

#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { STEPS = 512, CALLS = 40, ROUNDS = 101, PITCH = 528 };

static float weights[STEPS * 24] __attribute__((aligned(64))), inputs[6 * PITCH] __attribute__((aligned(64)));
static volatile float seen;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#define EACH _Pragma("GCC unroll 16") for
/* One tile of so many pixels and vectors; with `LOADS` 0, the multiplications alone. */
#define TILE(PIXELS, VECTORS, LOADS, NAME)                                                                            \
    static void NAME(void) {                                                                                          \
        __m256 sums[PIXELS][VECTORS], weight[VECTORS], input = _mm256_set1_ps(inputs[0]);                             \
        EACH (int v = 0; v < VECTORS; v++) weight[v] = _mm256_load_ps(weights + 8 * v);                               \
        EACH (int p = 0; p < PIXELS; p++)                                                                             \
            EACH (int v = 0; v < VECTORS; v++) sums[p][v] = weight[v];                                                \
        for (int step = 0; step < STEPS; step++) {                                                                    \
            if (LOADS)                                                                                                \
                EACH (int v = 0; v < VECTORS; v++) weight[v] = _mm256_load_ps(weights + (step * VECTORS + v) * 8);    \
            EACH (int p = 0; p < PIXELS; p++) {                                                                       \
                if (LOADS) input = _mm256_set1_ps(inputs[p * PITCH + step]);                                          \
                EACH (int v = 0; v < VECTORS; v++) {                                                                  \
                    sums[p][v] = _mm256_fmadd_ps(input, weight[v], sums[p][v]);                                       \
                    __asm__("" : "+x"(sums[p][v])); /* in its register, in this order */                              \
                }                                                                                                     \
            }                                                                                                         \
        }                                                                                                             \
        __m256 total = _mm256_setzero_ps();                                                                           \
        EACH (int p = 0; p < PIXELS; p++)                                                                             \
            EACH (int v = 0; v < VECTORS; v++) total = _mm256_add_ps(total, sums[p][v]);                              \
        seen = _mm256_cvtss_f32(total);                                                                               \
    }

TILE(6, 2, 0, peak)
TILE(6, 2, 1, tile_6x16)
TILE(4, 3, 1, tile_4x24)
TILE(5, 2, 1, tile_5x16)
TILE(3, 3, 1, tile_3x24)
TILE(4, 2, 1, tile_4x16)

static const struct {
    const char *name;
    void (*run)(void);
    int sums;
} tiles[] = {{"registers alone", peak, 12}, {"6 x 16", tile_6x16, 12}, {"4 x 24", tile_4x24, 12},
             {"5 x 16", tile_5x16, 10},     {"3 x 24", tile_3x24, 9},  {"4 x 16", tile_4x16, 8}};
enum { TILES = sizeof tiles / sizeof *tiles };

static int ascending(const void *one, const void *other) {
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

int main(void) {
    static double times[TILES][ROUNDS];
    for (int round = 0; round < ROUNDS; round++)
        for (int t = 0; t < TILES; t++) {
            tiles[t].run();
            double begin = seconds();
            for (int call = 0; call < CALLS; call++) tiles[t].run();
            times[t][round] = (seconds() - begin) / tiles[t].sums;
        }
    for (int t = 0; t < TILES; t++) qsort(times[t], ROUNDS, sizeof(double), ascending);
    for (int t = 0; t < TILES; t++)
        printf("%-16s %2d sums  %5.1f %%\n", tiles[t].name, tiles[t].sums,
               100 * times[0][ROUNDS / 2] / times[t][ROUNDS / 2]);
    return 0;
}
