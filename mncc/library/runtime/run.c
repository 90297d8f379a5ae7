/* A run: the kernels in order, each phase split among tasks. */

/* weights.S; kernels get one base pointer, so that weights can live elsewhere later */
__attribute__((visibility("hidden"))) extern const unsigned char mncc_weights[];

static mncc_status check_cpu(const mncc_exec *exec) {
  const char *missing = lacking();
  if (missing == NULL) return MNCC_OK;
  return fail(exec, MNCC_E_CPU, "the kernels need %s, which this processor or operating system lacks", missing);
}

typedef struct step {
  const variant *variant;
  const kernel *kernel;
  const void *const *inputs;
  void *const *outputs;
  unsigned char *workspace; /* tensors, then one scratch a task */
  int32_t phase;
  int32_t tasks;
  int32_t answer; /* atomic: not zero where a kernel failed */
} step;

static void *slot_address(const step *s, const slot *where, int64_t image) {
  unsigned char *base = s->workspace;
  if (where->base == SLOT_INPUT) base = (unsigned char *)(uintptr_t)s->inputs[where->index]; /* kernels only read it */
  if (where->base == SLOT_OUTPUT) base = s->outputs[where->index];
  return base + where->offset + image * where->image_stride;
}

/* Items `from` to `to` of the phase, of one image. */
static void run_items(step *s, void *scratch, int64_t image, int64_t from, int64_t to) {
  const kernel *k = s->kernel;
  const int32_t before = s->phase == 0 ? 0 : k->phases[0].items;
  void *tensors[MNCC_MAX_TENSORS];
  for (int32_t t = 0; t < k->tensors; t++) tensors[t] = slot_address(s, &s->variant->slots[k->first_slot + t], image);
  const int32_t answer = call_kernel(k->function, k->tensors, before + (int32_t)from, before + (int32_t)to,
                                     mncc_weights + k->weights_offset, scratch, tensors);
  if (answer != 0) __atomic_store_n(&s->answer, answer, __ATOMIC_RELAXED);
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Units of work: of one image items, of several images blocks of items. */
static int64_t phase_units(const kernel *k, const phase *p) {
  if (k->images == 1) return p->items;
  if (p->block == p->items) return (int64_t)k->images * p->items;
  return (p->items + p->block - 1) / p->block * (int64_t)k->images;
}

/* Task `index` of a phase: its share of the units, image by image, or all images of one block after the other. */
static void run_task(void *argument, int32_t index) {
  step *s = argument;
  const kernel *k = s->kernel;
  const phase *p = &k->phases[s->phase];
  const int64_t units = phase_units(k, p);
  const int64_t begin = units * index / s->tasks, end = units * (index + 1) / s->tasks;
  const size_t before_scratch = s->variant->tensor_bytes + (size_t)index * s->variant->scratch_bytes;
  void *scratch = s->workspace == NULL ? NULL : s->workspace + before_scratch;
  const fp_mode before = fp_enter();
  if (k->images == 1 || p->block == p->items) {
    for (int64_t image = begin / p->items; image * p->items < end; image++) {
      const int64_t first = image * p->items;
      run_items(s, scratch, image, begin > first ? begin - first : 0, smaller(end - first, p->items));
    }
  } else {
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t first = unit / k->images * p->block;
      run_items(s, scratch, unit % k->images, first, smaller(first + p->block, p->items));
    }
  }
  fp_leave(before);
}

static uint64_t nanoseconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* `own` is the pool where exec's is one of this network's: the run already holds it. */
static mncc_status run_kernel(const mncc_exec *exec, pool *own, step *s, int32_t index) {
  const kernel *k = s->kernel;
  const uint64_t start = exec->on_kernel == NULL ? 0 : nanoseconds_now();
  for (s->phase = 0; s->phase < 2 && k->phases[s->phase].items > 0; s->phase++) {
    s->tasks = (int32_t)smaller(phase_units(k, &k->phases[s->phase]), exec->threads);
    if (s->tasks <= 1)
      run_task(s, 0);
    else if (own != NULL)
      pool_fork_join(own, run_task, s, s->tasks);
    else
      exec->parallel_for(exec->pool, run_task, s, s->tasks);
  }
  if (exec->on_kernel != NULL) exec->on_kernel(exec->user, index, k->name, nanoseconds_now() - start);
  if (s->answer != 0) return fail(exec, MNCC_E_DEVICE, "kernel \"%s\" answered %d", k->name, (int)s->answer);
  return MNCC_OK;
}

/* A run of this network holds the pool from its first kernel to its last; its workers spin between them. */
static void pool_begin_run(pool *p) {
  pool_enter(p);
  __atomic_store_n(&p->in_run, 1, __ATOMIC_RELAXED);
}

static void pool_end_run(pool *p) {
  __atomic_store_n(&p->in_run, 0, __ATOMIC_RELAXED);
  pool_leave(p);
}

static mncc_status run_network(const void *const *inputs, void *const *outputs, void *workspace, size_t workspace_bytes,
                               const mncc_exec *given) {
  mncc_exec exec;
  mncc_status status;
  if ((status = read_exec(given, &exec)) != MNCC_OK) return status;
  if ((status = check_cpu(&exec)) != MNCC_OK) return status;
  if ((status = check_arguments(&exec, inputs, outputs, workspace, workspace_bytes)) != MNCC_OK) return status;
  pool *own = exec.threads > 1 && exec.parallel_for == pool_parallel_for ? exec.pool : NULL;
  if (exec.parallel_for == pool_parallel_for && exec.pool == NULL) return fail(&exec, MNCC_E_NULL, "the pool is NULL");
  if (own != NULL) pool_begin_run(own);
  const variant *v = current_variant();
  for (int32_t i = 0; i < v->kernel_count && status == MNCC_OK; i++) {
    step s = {v, &v->kernels[i], inputs, outputs, workspace, 0, 1, 0};
    status = run_kernel(&exec, own, &s, i);
  }
  if (own != NULL) pool_end_run(own);
  return status;
}
