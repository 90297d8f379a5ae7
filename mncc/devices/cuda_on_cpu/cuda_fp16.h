/* Found by `#include <cuda_fp16.h>` in the kernels' text where on_cpu.h runs it: numbers of 16 bits, each operation rounded
 * to the nearest of them, ties to even. */
#ifndef MNCC_CUDA_FP16_ON_CPU_H
#define MNCC_CUDA_FP16_ON_CPU_H

struct __half {
    /* NaN before anything is stored. A constant: without one g++ makes a static array, which is what shared memory is,
     * anew behind a guard. */
    _Float16 value = static_cast<_Float16>(__builtin_nanf(""));
    constexpr __half() = default;
    /* As the GPU's: of a float, and of whole numbers where the text casts a constant. */
    __half(float number) : value(static_cast<_Float16>(number)) {}
    __half(double number) : value(static_cast<_Float16>(number)) {}
    __half(int number) : value(static_cast<_Float16>(number)) {}
    operator float() const { return static_cast<float>(value); }
};
using half = __half;
struct __attribute__((aligned(4))) __half2 {
    half x, y;
};
using half2 = __half2;
inline half2 make_half2(half x, half y) { return {x, y}; }

inline float __half2float(half a) { return a; }
inline half __float2half(float a) { return half(a); }
inline half __float2half_rn(float a) { return half(a); }
inline bool __hgt(half a, half b) { return a.value > b.value; }
inline bool __hlt(half a, half b) { return a.value < b.value; }
/* One rounding: a double holds the product and, of numbers that a kernel meets, the sum. */
inline half __hfma(half a, half b, half c) {
    return half(static_cast<double>(a.value) * static_cast<double>(b.value) + static_cast<double>(c.value));
}
inline half2 __float2half2_rn(float a) { return {half(a), half(a)}; }
inline half2 __floats2half2_rn(float a, float b) { return {half(a), half(b)}; }
/* NaN where either is. */
inline half __hmax_nan(half a, half b) { return a.value != a.value || a.value > b.value ? a : b; }
inline half __hmin_nan(half a, half b) { return a.value != a.value || a.value < b.value ? a : b; }
inline half2 __hmax2_nan(half2 a, half2 b) { return {__hmax_nan(a.x, b.x), __hmax_nan(a.y, b.y)}; }
inline half2 __hmin2_nan(half2 a, half2 b) { return {__hmin_nan(a.x, b.x), __hmin_nan(a.y, b.y)}; }
/* Bits of ones for each of two that is greater than the other, or not ordered to it. */
inline unsigned __masks(bool x, bool y) { return (x ? 0xffffu : 0) | (y ? 0xffff0000u : 0); }
inline unsigned __hgt2_mask(half2 a, half2 b) { return __masks(a.x.value > b.x.value, a.y.value > b.y.value); }
inline unsigned __hgtu2_mask(half2 a, half2 b) { return __masks(!(a.x.value <= b.x.value), !(a.y.value <= b.y.value)); }
inline unsigned short __half_as_ushort(half a) {
    unsigned short bits;
    __builtin_memcpy(&bits, &a, sizeof bits);
    return bits;
}
/* Four of the eight bytes of two numbers, the lowest first, each named by a digit. */
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned names) {
    unsigned long long bytes = (unsigned long long)high << 32 | low;
    unsigned made = 0;
    for (int i = 0; i < 4; ++i) made |= (unsigned)(bytes >> 8 * (names >> 4 * i & 7) & 255) << 8 * i;
    return made;
}
inline half2 __hfma2(half2 a, half2 b, half2 c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }

#include "fragments.h"

#endif
