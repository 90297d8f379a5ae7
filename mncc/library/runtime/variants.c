/* Which of the library's sets of kernels a run takes. It was built for one processor, or for several. */

static const char *missing_feature(const variant *v) {
  for (int32_t i = 0; i < v->feature_count; i++)
    if (!has_feature(&v->features[i])) return v->features[i].name;
  return NULL;
}

static int is_for(const variant *v, const uint32_t *parts, int32_t count) {
  for (int32_t i = 0; i < v->part_count; i++)
    for (int32_t p = 0; p < count; p++)
      if (v->parts[i] == parts[p]) return 1;
  return 0;
}

/* Of those whose instructions are there, the first in the list that is for a processor of this machine; else the one that
 * needs most, and of equals the first. Where none can run, the one that needs least, and what it misses. */
static const variant *choose(const char **missing) {
  uint32_t parts[MNCC_VARIANTS > 1 ? MAX_PARTS : 1];
  const int32_t count = MNCC_VARIANTS > 1 ? read_parts(parts) : 0;
  const variant *best = NULL, *least = &variants[0];
  int best_fits = 0;
  for (int32_t i = 0; i < MNCC_VARIANTS; i++) {
    const variant *v = &variants[i];
    const int fits = is_for(v, parts, count);
    if (v->feature_count < least->feature_count) least = v;
    if (missing_feature(v) != NULL) continue;
    if (best == NULL || fits > best_fits ||
        (!fits && !best_fits && v->feature_count > best->feature_count)) {
      best = v;
      best_fits = fits;
    }
  }
  *missing = best == NULL ? missing_feature(least) : NULL;
  return best == NULL ? least : best;
}

/* CPUID leaves a virtual machine for a microsecond or more each time: it is asked once, as the library is loaded, so
 * that nothing global changes inside a run. A run that comes even earlier (from a constructor of the program) asks. */
static int is_chosen;
static const variant *chosen;
static const char *chosen_misses;

__attribute__((constructor)) static void choose_at_load(void) {
  chosen = choose(&chosen_misses);
  is_chosen = 1;
}

static const variant *current_variant(void) {
  const char *missing;
  return is_chosen ? chosen : choose(&missing);
}

static int32_t variant_number(void) { return (int32_t)(current_variant() - variants); }

/* What the processor or the operating system lacks to run anything of this library, or NULL. */
static const char *lacking(void) {
  const char *missing = chosen_misses;
  if (!is_chosen) choose(&missing);
  return missing;
}

#define MNCC_TENSOR_BYTES (current_variant()->tensor_bytes)
#define MNCC_SCRATCH_BYTES (current_variant()->scratch_bytes)
