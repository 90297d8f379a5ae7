/* What the processor and the operating system offer, as variants.c asks. */

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#include <xmmintrin.h>

static uint64_t read_xcr0(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
  __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(a), "=d"(d) : "c"(0)); /* xgetbv, which older assemblers lack */
  return (uint64_t)d << 32 | a;
}

static int has_feature(const cpu_feature *feature) {
  uint32_t r[4];
  if (!__get_cpuid_count(feature->leaf, feature->subleaf, &r[0], &r[1], &r[2], &r[3])) return 0;
  if (!(r[feature->reg] >> feature->bit & 1)) return 0;
  return feature->xcr0 == 0 || (read_xcr0() & feature->xcr0) == feature->xcr0;
}

/* The bits of a result must not depend on the rounding or flush-to-zero mode that a thread happens to be in: kernels
 * round to nearest, trap nothing, and take denormals for zero, on which some processors need a hundred cycles more. */
typedef uint32_t fp_mode;
static fp_mode fp_enter(void) {
  const fp_mode before = _mm_getcsr();
  _mm_setcsr(0x9fc0); /* every exception masked, FTZ, DAZ */
  return before;
}
static void fp_leave(fp_mode before) { _mm_setcsr(before); }

#elif defined(__linux__)
#include <sys/auxv.h>

static int has_feature(const cpu_feature *feature) { return getauxval(feature->leaf) >> feature->bit & 1; }

#elif defined(__APPLE__)
#include <TargetConditionals.h>
#include <sys/sysctl.h>

/* macOS 11 and iOS 14 lack most of the keys; there, every Mac with an Arm processor has what its kernels need. */
static int has_feature(const cpu_feature *feature) {
  int32_t value = 0;
  size_t bytes = sizeof value;
  if (sysctlbyname(feature->key, &value, &bytes, NULL, 0) != 0) return TARGET_OS_OSX;
  return value != 0;
}

#else
#error "mncc knows no way to ask this operating system for the processor's features"
#endif

#if defined(__aarch64__)
typedef uint64_t fp_mode;
static fp_mode fp_enter(void) {
  fp_mode before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)1 << 24)); /* FZ */
  return before;
}
static void fp_leave(fp_mode before) { __asm__ volatile("msr fpcr, %0" : : "r"(before)); }
#elif defined(__arm__)
/* NEON rounds to nearest and flushes by itself; the single floats of a row's tail do as this register says. */
typedef uint32_t fp_mode;
static fp_mode fp_enter(void) {
  fp_mode before;
  __asm__ volatile("vmrs %0, fpscr" : "=r"(before));
  __asm__ volatile("vmsr fpscr, %0" : : "r"((uint32_t)1 << 24)); /* FZ */
  return before;
}
static void fp_leave(fp_mode before) { __asm__ volatile("vmsr fpscr, %0" : : "r"(before)); }
#endif

/* What the processors of this machine are: implementer << 12 | part, as in MIDR_EL1. Answers how many kinds there are, 0
 * where that cannot be known. The one that reads itself comes first; the files have all, the small ones of a phone too. */
enum { MAX_PARTS = 8 };
#if defined(__linux__) && defined(__aarch64__)
#include <fcntl.h>
#include <unistd.h>

static int32_t add_part(uint32_t *parts, int32_t count, uint64_t midr) {
  const uint32_t part = (uint32_t)(midr >> 24 & 0xff) << 12 | (uint32_t)(midr >> 4 & 0xfff);
  for (int32_t i = 0; i < count; i++)
    if (parts[i] == part) return count;
  if (count < MAX_PARTS) parts[count++] = part;
  return count;
}

static int32_t read_parts(uint32_t *parts) {
  int32_t count = 0;
  if (getauxval(AT_HWCAP) >> 11 & 1) { /* HWCAP_CPUID: the kernel lets programs read it */
    uint64_t midr;
    __asm__("mrs %0, midr_el1" : "=r"(midr));
    count = add_part(parts, count, midr);
  }
  for (int cpu = 0; cpu < 1024; cpu++) {
    char text[80];
    snprintf(text, sizeof text, "/sys/devices/system/cpu/cpu%d/regs/identification/midr_el1", cpu);
    const int file = open(text, O_RDONLY | O_CLOEXEC);
    if (file < 0) break;
    const ssize_t bytes = read(file, text, sizeof text - 1);
    close(file);
    if (bytes <= 0) break;
    text[bytes] = '\0';
    count = add_part(parts, count, strtoull(text, NULL, 16));
  }
  return count;
}
#else
static int32_t read_parts(uint32_t *parts) {
  parts[0] = 0;
  return 0;
}
#endif
