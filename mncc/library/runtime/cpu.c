/* What the processor and the operating system offer, against what the kernels need (the table cpu_features). */

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
#elif !defined(__x86_64__) && !defined(__i386__)
typedef int fp_mode;
static fp_mode fp_enter(void) { return 0; }
static void fp_leave(fp_mode before) { (void)before; }
#endif

/* The first missing feature, or NULL. */
static const char *missing_feature(void) {
  for (int32_t i = 0; i < MNCC_CPU_FEATURES; i++)
    if (!has_feature(&cpu_features[i])) return cpu_features[i].name;
  return NULL;
}

/* CPUID leaves a virtual machine for a microsecond or more each time: it is asked once, as the library is loaded, so
 * that nothing global changes inside a run. A run that comes even earlier (from a constructor of the program) asks. */
static int features_known;
static const char *feature_missing;

__attribute__((constructor)) static void learn_features(void) {
  feature_missing = missing_feature();
  features_known = 1;
}

static mncc_status check_cpu(const mncc_exec *exec) {
  const char *missing = features_known ? feature_missing : missing_feature();
  if (missing == NULL) return MNCC_OK;
  return fail(exec, MNCC_E_CPU, "the kernels need %s, which this processor or operating system lacks", missing);
}
