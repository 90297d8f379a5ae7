/* A pool of threads for fork and join in microseconds.
 *
 * The caller publishes a job by setting `unclaimed` to its number of tasks; whoever lowers it by one, caller or worker,
 * runs that task, so a worker that wakes late costs nothing. A thread that waits spins for a bounded time, and only
 * while a run is in progress, then sleeps on a condition variable. Only the `job` fields that a claimed task guards are
 * read without the mutex; everything shared otherwise is atomic (__atomic builtins: this is C99). */

enum { POOL_MAX_THREADS = 1024, POOL_SPINS = 4096 /* pauses: some 50 to 200 microseconds */ };

typedef struct pool {
  mncc_exec exec; /* first: the caller holds a pointer to it */
  int32_t workers;
  pthread_t *threads;

  pthread_mutex_t mutex; /* guards sleeping, and the queue of callers */
  pthread_cond_t wake;   /* to workers: tasks to claim, or the end */
  pthread_cond_t joined; /* to the caller: the last task has finished */
  pthread_cond_t turn;   /* to queueing callers */
  uint32_t next_ticket, now_serving;

  void (*task)(void *arg, int32_t index);
  void *arg;
  int32_t unclaimed;   /* atomic: tasks that nobody has taken yet; index = value - 1 */
  int32_t unfinished;  /* atomic: tasks that have not returned */
  int32_t in_run;      /* atomic: a run holds the pool, so more jobs will follow soon */
  int32_t sleepers;    /* atomic: workers asleep */
  int32_t caller_asleep; /* atomic */
  int32_t stop;        /* atomic */
} pool;

static void spin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__ARM_ARCH_7A__)
  __asm__ volatile("yield");
#endif
}

/* Claims and runs tasks until none is left to claim. */
static void pool_work(pool *p) {
  int32_t left = __atomic_load_n(&p->unclaimed, __ATOMIC_ACQUIRE);
  while (left > 0) {
    if (!__atomic_compare_exchange_n(&p->unclaimed, &left, left - 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) continue;
    p->task(p->arg, left - 1);
    if (__atomic_sub_fetch(&p->unfinished, 1, __ATOMIC_SEQ_CST) == 0 &&
        __atomic_load_n(&p->caller_asleep, __ATOMIC_SEQ_CST)) {
      pthread_mutex_lock(&p->mutex);
      pthread_cond_signal(&p->joined);
      pthread_mutex_unlock(&p->mutex);
    }
    left = __atomic_load_n(&p->unclaimed, __ATOMIC_ACQUIRE);
  }
}

static int pool_idle(pool *p) {
  return __atomic_load_n(&p->unclaimed, __ATOMIC_SEQ_CST) == 0 && !__atomic_load_n(&p->stop, __ATOMIC_SEQ_CST);
}

static void *pool_worker(void *argument) {
  pool *p = argument;
  while (!__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE)) {
    pool_work(p);
    for (int32_t spins = 0; spins < POOL_SPINS && pool_idle(p) && __atomic_load_n(&p->in_run, __ATOMIC_RELAXED); spins++)
      spin_pause();
    if (!pool_idle(p)) continue;
    pthread_mutex_lock(&p->mutex);
    __atomic_add_fetch(&p->sleepers, 1, __ATOMIC_SEQ_CST); /* before the last look: pool_fork looks the other way round */
    while (pool_idle(p)) pthread_cond_wait(&p->wake, &p->mutex);
    __atomic_sub_fetch(&p->sleepers, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&p->mutex);
  }
  return NULL;
}

/* One job, from the caller whose turn it is. */
static void pool_fork_join(pool *p, void (*task)(void *arg, int32_t index), void *arg, int32_t count) {
  if (count < 1) return;
  p->task = task;
  p->arg = arg;
  __atomic_store_n(&p->unfinished, count, __ATOMIC_RELAXED);
  __atomic_store_n(&p->unclaimed, count, __ATOMIC_SEQ_CST);
  if (count > 1 && __atomic_load_n(&p->sleepers, __ATOMIC_SEQ_CST) > 0) {
    pthread_mutex_lock(&p->mutex);
    for (int32_t i = 1; i < count && i <= p->workers; i++) pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->mutex);
  }
  pool_work(p);
  for (int32_t spins = 0; spins < POOL_SPINS && __atomic_load_n(&p->unfinished, __ATOMIC_ACQUIRE) > 0; spins++)
    spin_pause();
  if (__atomic_load_n(&p->unfinished, __ATOMIC_ACQUIRE) > 0) {
    pthread_mutex_lock(&p->mutex);
    __atomic_store_n(&p->caller_asleep, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&p->unfinished, __ATOMIC_SEQ_CST) > 0) pthread_cond_wait(&p->joined, &p->mutex);
    __atomic_store_n(&p->caller_asleep, 0, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&p->mutex);
  }
}

/* Waits for the caller's turn, in the order of arrival. */
static void pool_enter(pool *p) {
  pthread_mutex_lock(&p->mutex);
  const uint32_t ticket = p->next_ticket++;
  while (ticket != p->now_serving) pthread_cond_wait(&p->turn, &p->mutex);
  pthread_mutex_unlock(&p->mutex);
}

static void pool_leave(pool *p) {
  pthread_mutex_lock(&p->mutex);
  p->now_serving++;
  if (p->now_serving != p->next_ticket) pthread_cond_broadcast(&p->turn);
  pthread_mutex_unlock(&p->mutex);
}

/* mncc_exec.parallel_for of a pool, as others call it: another network, or the program itself. */
static void pool_parallel_for(void *argument, void (*task)(void *arg, int32_t index), void *arg, int32_t count) {
  pool *p = argument;
  pool_enter(p);
  pool_fork_join(p, task, arg, count);
  pool_leave(p);
}

static void pool_stop(pool *p) {
  pthread_mutex_lock(&p->mutex);
  __atomic_store_n(&p->stop, 1, __ATOMIC_SEQ_CST);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->mutex);
  for (int32_t i = 0; i < p->workers; i++) pthread_join(p->threads[i], NULL);
  pthread_cond_destroy(&p->turn);
  pthread_cond_destroy(&p->joined);
  pthread_cond_destroy(&p->wake);
  pthread_mutex_destroy(&p->mutex);
  free(p->threads);
  free(p);
}

/* Starts the workers with every signal blocked: handlers are the program's business, on the program's threads. */
static int pool_start(pool *p, int32_t workers) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (p->workers < workers && pthread_create(&p->threads[p->workers], NULL, pool_worker, p) == 0) p->workers++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return p->workers == workers;
}

static mncc_exec *pool_create(int32_t threads) {
  if (threads < 1) threads = 1;
  if (threads > POOL_MAX_THREADS) return NULL;
  pool *p = calloc(1, sizeof *p);
  if (p == NULL) return NULL;
  p->threads = calloc((size_t)threads, sizeof *p->threads);
  if (p->threads == NULL) {
    free(p);
    return NULL;
  }
  pthread_mutex_init(&p->mutex, NULL); /* these four cannot fail in glibc and musl */
  pthread_cond_init(&p->wake, NULL);
  pthread_cond_init(&p->joined, NULL);
  pthread_cond_init(&p->turn, NULL);
  p->exec.struct_size = sizeof p->exec;
  p->exec.threads = threads;
  p->exec.parallel_for = pool_parallel_for;
  p->exec.pool = p;
  if (!pool_start(p, threads - 1)) {
    pool_stop(p);
    return NULL;
  }
  return &p->exec;
}

static void pool_destroy(mncc_exec *exec) {
  if (exec != NULL) pool_stop(exec->pool);
}
