/* What the products of MobileNetV1 alone can reach with AVX2: no depthwise stage, nothing else in the caches.

     clang -O3 -mavx2 -mfma bench/products.c -o products && ./products

   The best loop that we know, without a compiler of networks around it: tiles of 6 pixels x 16 channels, four steps in an
   iteration, weights packed by panels of 16 channels, of which the next one is fetched while one is multiplied; a row of
   pixels is multiplied with all panels before the next row where the plan for x86-64-v3 does so, all pixels with one panel
   elsewhere. Printed are least times: of all, and with the same inputs and weights in every tile, so that both lie in the
   L1 cache. The peak is that of multiplications of registers in the same seconds. With gcc, sums leave their registers. */

#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 120, UNROLL = 4, PEAK_STEPS = 20000, COPIES = 4, MOST = 4 << 20 };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#define EACH _Pragma("clang loop unroll(full)") for
#define TILE(NAME, PIXELS)                                                                                             \
    static __attribute__((noinline)) void NAME(const float *restrict in, const float *restrict weights,                \
                                               float *restrict out, int depth, int channels, const float *fetched) {   \
        const long pitch = depth + 16, apart = channels + 16;                                                          \
        const __m256 zero = _mm256_setzero_ps(), six = _mm256_set1_ps(6);                                              \
        __m256 sums[PIXELS][2];                                                                                        \
        EACH (int p = 0; p < PIXELS; p++) sums[p][0] = sums[p][1] = zero;                                              \
        _Pragma("clang loop unroll(disable)") for (int step = 0; step < depth; step += UNROLL) {                       \
            _mm_prefetch((const char *)(fetched + 2 * step), _MM_HINT_T1);                                             \
            EACH (int k = step; k < step + UNROLL; k++) {                                                              \
                const __m256 left = _mm256_load_ps(weights + 16 * k), right = _mm256_load_ps(weights + 16 * k + 8);    \
                EACH (int p = 0; p < PIXELS; p++) {                                                                    \
                    const __m256 input = _mm256_broadcast_ss(in + p * pitch + k);                                      \
                    sums[p][0] = _mm256_fmadd_ps(input, left, sums[p][0]);                                             \
                    sums[p][1] = _mm256_fmadd_ps(input, right, sums[p][1]);                                            \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        EACH (int p = 0; p < PIXELS; p++)                                                                              \
            EACH (int v = 0; v < 2; v++)                                                                               \
                _mm256_store_ps(out + p * apart + 8 * v, _mm256_min_ps(six, _mm256_max_ps(zero, sums[p][v])));         \
    }

TILE(six_pixels, 6)
TILE(five_pixels, 5)
TILE(four_pixels, 4)

typedef struct {
    int rows, pixels, depth, channels, times;
} Product;

/* V1's: as the plan cuts them, rows of 112, 56 and 28 pixels one by one, 14x14 and 7x7 as one sequence. */
static const Product PRODUCTS[] = {
    {112, 112, 32, 64, 1}, {56, 56, 64, 128, 1},  {56, 56, 128, 128, 1}, {28, 28, 128, 256, 1},  {28, 28, 256, 256, 1},
    {1, 196, 256, 512, 1}, {1, 196, 512, 512, 5}, {1, 49, 512, 1024, 1}, {1, 49, 1024, 1024, 1},
};
enum { COUNT = sizeof PRODUCTS / sizeof *PRODUCTS };

static float *inputs, *outputs, *weights;

static void multiply(const Product *of, const float *kernel, int same) {
    const long panel = 16L * of->depth;
    for (int row = 0; row < of->rows; row++) {
        /* The input of rows that another stage has just made, of which there is one. */
        for (int n = 0; n < of->channels / 16; n++) {
            const float *now = kernel + (same ? 0 : n * panel), *next = same ? now : now + panel;
            int fives = 0, fours = 0;
            while ((of->pixels - 4 * fours - 5 * fives) % 6) fours < 2 ? fours++ : (fours = 0, fives++);
            const int tiles = (of->pixels - 4 * fours - 5 * fives) / 6 + fives + fours;
            for (int i = 0, p = 0, wide; i < tiles; i++, p += wide) {
                wide = i < fours ? 4 : i < fours + fives ? 5 : 6;
                const float *in = inputs + (same ? 0 : (long)p * (of->depth + 16));
                float *out = outputs + (long)p * (of->channels + 16) + 16 * n;
                (wide == 6 ? six_pixels : wide == 5 ? five_pixels : four_pixels)(
                    in, now, out, of->depth, of->channels, next + i % 8 * (panel / 8));
            }
        }
    }
}

static double peak(void) { /* multiply-adds in a second */
    __m256 sums[12];
    const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
    EACH (int i = 0; i < 12; i++) sums[i] = b;
    const double start = seconds();
    for (int step = 0; step < PEAK_STEPS; step++) {
        EACH (int i = 0; i < 12; i++) {
            sums[i] = _mm256_fmadd_ps(sums[i], a, b);
            __asm__ volatile("" : "+x"(sums[i]));
        }
    }
    return PEAK_STEPS * 12. * 8 / (seconds() - start);
}

static float *lines(long floats) {
    float *made = aligned_alloc(4096, ((unsigned long)floats * 4 | 4095) + 1);
    if (!made) exit(1);
    for (long i = 0; i < floats; i++) made[i] = (float)(i * 2654435761UL % 1000) * 1e-3f - 0.5f;
    return made;
}

int main(void) {
    static double least[COUNT][2];
    double most = 0, whole[2] = {0, 0}, macs = 0;
    inputs = lines(MOST), outputs = lines(MOST), weights = lines((COPIES + 1L) * 1024 * 1024);
    for (int round = 0; round < ROUNDS; round++) {
        const double now = peak();
        most = now > most ? now : most;
        for (int i = 0; i < COUNT; i++)
            for (int same = 0; same < 2; same++) {
                const Product *of = PRODUCTS + i;
                /* In a network other weights come between, so that these come from the L3 cache. */
                const long other = (long)of->depth * of->channels * (round % COPIES);
                const double start = seconds();
                multiply(of, weights + (of->rows > 1 ? 0 : other), same);
                const double took = seconds() - start;
                least[i][same] = least[i][same] && least[i][same] < took ? least[i][same] : took;
            }
    }
    printf("peak %.1f GFLOP/s\n", 2e-9 * most);
    for (int i = 0; i < COUNT; i++) {
        const Product *of = PRODUCTS + i;
        const double here = (double)of->rows * of->pixels * of->depth * of->channels;
        printf("%3d x %3d pixels, %4d -> %4d channels: %5.1f %% of the peak, from the L1 cache %5.1f %%\n", of->rows,
               of->pixels, of->depth, of->channels, 100 * here / least[i][0] / most, 100 * here / least[i][1] / most);
        macs += here * of->times;
        for (int same = 0; same < 2; same++) whole[same] += least[i][same] * of->times;
    }
    printf("all of them: %.2f ms, %.1f %%, from the L1 cache %.1f %%\n", 1e3 * whole[0], 100 * macs / whole[0] / most,
           100 * macs / whole[1] / most);
    return 0;
}
