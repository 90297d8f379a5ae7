/* A library for GPUs against the stand-in driver: numbers, statuses, what the driver is asked for, and what is left when
 * any of its calls fails. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "cuda_driver.h"
#include "standin.h"
#include "toy.h"

#define DECLARE(name, parameters) CUresult name parameters;
DRIVER_FUNCTIONS(DECLARE)
CUresult cuCtxCreate_v2(CUcontext *context, unsigned int flags, CUdevice device);
CUresult cuCtxDestroy_v2(CUcontext context);

static float image[TOY_IMAGE_ELEMS], bias[TOY_BIAS_ELEMS], hidden[TOY_HIDDEN_ELEMS], scores[TOY_SCORES_ELEMS];
static float expected_hidden[TOY_HIDDEN_ELEMS], expected_scores[TOY_SCORES_ELEMS];
static char message[400];
static standin_state *driver;

static int says(const char *part) { return strstr(message, part) != NULL; }

static mncc_exec on(void *device) {
  mncc_exec exec;
  memset(&exec, 0, sizeof exec);
  exec.struct_size = sizeof exec;
  exec.message = message;
  exec.message_bytes = sizeof message;
  exec.device = device;
  strcpy(message, "untouched");
  return exec;
}

static void *open_device(int32_t ordinal) {
  void *device = toy_device_open(ordinal, message, sizeof message);
  if (device == NULL) fprintf(stderr, "%s\n", message);
  CHECK(device != NULL);
  return device;
}

/* Nothing lives in the driver, and it was never asked for what makes no sense. */
static void nothing_left(const char *after) {
  const standin_state *s = standin();
  const int64_t left = s->contexts + s->modules + s->allocations + s->streams + s->events + s->graphs + s->replays;
  if (left != 0 || s->depth != 0 || s->bytes != 0 || s->wrong != 0)
    fprintf(stderr, "after %s (failed: %s): %lld left, %lld contexts deep, wrong: %s\n", after, s->failed,
            (long long)left, (long long)s->depth, s->first_wrong);
  CHECK(left == 0 && s->depth == 0 && s->bytes == 0 && s->wrong == 0);
}

static void clear_outputs(void) {
  memset(hidden, 0xff, sizeof hidden);
  memset(scores, 0xff, sizeof scores);
}

static void check_outputs(void) {
  CHECK(memcmp(hidden, expected_hidden, sizeof hidden) == 0);
  CHECK(memcmp(scores, expected_scores, sizeof scores) == 0);
}

static mncc_status run(const mncc_exec *exec) {
  clear_outputs();
  return toy_run(image, bias, hidden, scores, NULL, 0, exec);
}

static void tests_itself_and_gives_the_expected(void) {
  CHECK(TOY_WORKSPACE_BYTES == 0 && toy_model()->workspace_bytes(7) == 0);
  void *device = open_device(0);
  mncc_exec exec = on(device);
  void *memory = new_workspace(TOY_SELFTEST_BYTES);
  CHECK(toy_model()->selftest(memory, TOY_SELFTEST_BYTES, &exec) == MNCC_OK);
  CHECK(toy_model()->selftest(memory, TOY_SELFTEST_BYTES - 1, &exec) == MNCC_E_WORKSPACE);
  free(memory);
  for (unsigned i = 0; i < TOY_IMAGE_ELEMS; i++) image[i] = (float)i / 50 - 1;
  for (unsigned i = 0; i < TOY_BIAS_ELEMS; i++) bias[i] = (float)i;
  CHECK(run(&exec) == MNCC_OK);
  memcpy(expected_hidden, hidden, sizeof hidden);
  memcpy(expected_scores, scores, sizeof scores);
  toy_device_close(device);
  nothing_left("the self test");
}

/* Weights go up once, the network is captured once; a run is two copies up, one graph, two copies down. */
static void asks_the_driver_for_little(void) {
  memset(driver->log, 0, sizeof driver->log);
  driver->captures = driver->uploads = driver->downloads = driver->upload_bytes = driver->kernels = 0;
  driver->graph_launches = driver->node_updates = driver->launches = 0;
  void *device = open_device(1);
  CHECK(driver->captures == 1 && driver->uploads == 1 && driver->graph_launches == 0 && driver->kernels == 0);
  CHECK(driver->upload_bytes == 1744);
  const int64_t allocations = driver->allocations, before = driver->calls;
  mncc_exec exec = on(device);
  for (int i = 0; i < 3; i++) {
    CHECK(run(&exec) == MNCC_OK);
    check_outputs();
  }
  CHECK(driver->calls - before == 3 * 8); /* push, two copies, graph, two copies, wait, pop */
  CHECK(driver->captures == 1 && driver->uploads == 7 && driver->downloads == 6 && driver->graph_launches == 3);
  CHECK(driver->allocations == allocations && driver->node_updates == 0 && driver->kernels == 9);
  CHECK(strcmp(message, "untouched") == 0);
  toy_device_close(device);
  nothing_left("three runs");
}

static void launches_as_the_table_says(void) {
  const char *symbols[] = {"toy_scale", "toy_dense", "toy_mix"};
  const uint32_t grids[][3] = {{2, 1, 1}, {7, 2, 1}, {2, 1, 1}}, blocks[] = {64, 32, 32};
  for (int i = 0; i < 9; i++) {
    const standin_launch *l = &driver->log[i];
    CHECK(strcmp(l->symbol, symbols[i % 3]) == 0 && l->from_graph);
    CHECK(memcmp(l->grid, grids[i % 3], sizeof l->grid) == 0 && l->block[0] == blocks[i % 3] && l->block[2] == 1);
    CHECK(l->shared_bytes == (i % 3 == 1 ? 128 : 0));
  }
}

typedef struct buffers {
  CUdeviceptr image, bias, hidden, scores;
} buffers;

static buffers new_buffers(void) {
  buffers b;
  CHECK(cuMemAlloc_v2(&b.image, sizeof image) == 0 && cuMemAlloc_v2(&b.bias, sizeof bias) == 0);
  CHECK(cuMemAlloc_v2(&b.hidden, sizeof hidden) == 0 && cuMemAlloc_v2(&b.scores, sizeof scores) == 0);
  CHECK(cuMemcpyHtoDAsync_v2(b.image, image, sizeof image, NULL) == 0);
  CHECK(cuMemcpyHtoDAsync_v2(b.bias, bias, sizeof bias, NULL) == 0 && cuStreamSynchronize(NULL) == 0);
  return b;
}

static void free_buffers(const buffers *b) {
  CHECK(cuMemFree_v2(b->image) == 0 && cuMemFree_v2(b->bias) == 0);
  CHECK(cuMemFree_v2(b->hidden) == 0 && cuMemFree_v2(b->scores) == 0);
}

static float *at(CUdeviceptr address) { return (float *)(uintptr_t)address; }

static mncc_status run_device(void *device, const buffers *b, CUstream stream) {
  const mncc_status status =
      toy_run_device(device, at(b->image), at(b->bias), at(b->hidden), at(b->scores), stream);
  snprintf(message, sizeof message, "%s", toy_device_message(device));
  return status;
}

/* Outputs that no run has written. */
static void poison(const buffers *b) {
  clear_outputs();
  CHECK(cuMemcpyHtoDAsync_v2(b->hidden, hidden, sizeof hidden, NULL) == 0);
  CHECK(cuMemcpyHtoDAsync_v2(b->scores, scores, sizeof scores, NULL) == 0 && cuStreamSynchronize(NULL) == 0);
}

static void download(const buffers *b, CUstream stream) {
  clear_outputs();
  CHECK(cuMemcpyDtoHAsync_v2(hidden, b->hidden, sizeof hidden, stream) == 0);
  CHECK(cuMemcpyDtoHAsync_v2(scores, b->scores, sizeof scores, stream) == 0);
  CHECK(cuStreamSynchronize(stream) == 0);
}

/* A program with a context of its own current: the primary one of device 0. */
static CUcontext enter_program(void) {
  CUcontext context;
  CHECK(cuInit(0) == 0 && cuDevicePrimaryCtxRetain(&context, 0) == 0 && cuCtxPushCurrent_v2(context) == 0);
  return context;
}

static void leave_program(void) {
  CUcontext context;
  CHECK(cuCtxPopCurrent_v2(&context) == 0 && cuDevicePrimaryCtxRelease_v2(0) == 0);
}

static void runs_on_the_callers_stream(void) {
  enter_program();
  CUstream stream;
  CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == 0);
  void *device = open_device(0);
  const buffers one = new_buffers(), two = new_buffers();
  driver->launches = driver->node_updates = driver->kernels = 0;
  const int64_t captures = driver->captures, uploads = driver->uploads;
  CHECK(run_device(device, &one, stream) == MNCC_OK);
  CHECK(driver->kernels == 0);       /* it only enqueues */
  CHECK(driver->node_updates == 3);  /* every kernel of the toy touches an input or an output */
  CHECK(run_device(device, &one, stream) == MNCC_OK && driver->node_updates == 3);
  download(&one, stream);
  check_outputs();
  CHECK(driver->launches == 6 && driver->log[0].stream == stream && driver->log[5].stream == stream);

  /* another output, enqueued while a run with the first is on its way: only what touches it changes */
  buffers mixed = one;
  mixed.scores = two.scores;
  CHECK(run_device(device, &one, stream) == MNCC_OK && run_device(device, &mixed, stream) == MNCC_OK);
  CHECK(driver->node_updates == 4);
  CHECK(run_device(device, &two, NULL) == MNCC_OK);
  download(&mixed, stream);
  check_outputs();
  download(&two, NULL);
  check_outputs();
  mncc_exec exec = on(device); /* with host pointers in between */
  CHECK(run(&exec) == MNCC_OK);
  check_outputs();
  CHECK(run_device(device, &one, NULL) == MNCC_OK);
  download(&one, NULL);
  check_outputs();
  CHECK(driver->captures == captures && driver->uploads == uploads + 2);
  free_buffers(&one);
  free_buffers(&two);
  toy_device_close(device);
  CHECK(cuStreamDestroy_v2(stream) == 0);
  CHECK(standin()->depth == 1);
  leave_program();
  nothing_left("runs on streams");
}

/* A program that captures a run into a graph of its own keeps the buffers of that run. */
static void is_captured_by_the_program(void) {
  enter_program();
  CUstream stream;
  CUgraph graph;
  CUgraphExec replay;
  CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == 0);
  void *device = open_device(0);
  const buffers one = new_buffers(), two = new_buffers();
  CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) == 0);
  CHECK(run_device(device, &one, stream) == MNCC_OK);
  CHECK(cuStreamEndCapture(stream, &graph) == 0 && cuGraphInstantiateWithFlags(&replay, graph, 0) == 0);
  CHECK(run_device(device, &two, stream) == MNCC_OK);
  download(&two, stream);
  check_outputs();
  poison(&one);
  CHECK(cuGraphLaunch(replay, stream) == 0);
  download(&one, stream);
  check_outputs();
  CHECK(cuGraphExecDestroy(replay) == 0 && cuGraphDestroy(graph) == 0 && cuStreamDestroy_v2(stream) == 0);
  free_buffers(&one);
  free_buffers(&two);
  toy_device_close(device);
  leave_program();
  nothing_left("a captured run");
}

static void refuses_device_buffers(void) {
  CUcontext mine = enter_program(), other;
  void *device = open_device(0);
  buffers good = new_buffers(), b = good;
  b.image = 0;
  CHECK(run_device(device, &b, NULL) == MNCC_E_NULL && says("\"image\" is NULL"));
  b = good;
  b.scores += 4;
  CHECK(run_device(device, &b, NULL) == MNCC_E_ALIGN && says("\"scores\"") && says("16 bytes"));
  b = good;
  b.hidden = b.image + 16;
  CHECK(run_device(device, &b, NULL) == MNCC_E_ALIGN && says("overlaps input \"image\""));
  b = good;
  static float host[TOY_BIAS_ELEMS + 4];
  b.bias = (CUdeviceptr)(uintptr_t)host / 16 * 16 + 16;
  CHECK(run_device(device, &b, NULL) == MNCC_E_DEVICE && says("\"bias\"") && says("no device memory") && says("toy_run"));
  CHECK(toy_run_device(NULL, host, host, host, host, NULL) == MNCC_E_NULL);
  CHECK(strcmp(toy_device_message(NULL), "") == 0);

  CUstream stream; /* of another context, and memory of another device */
  CHECK(cuCtxCreate_v2(&other, 0, 1) == 0 && cuStreamCreate(&stream, 0) == 0);
  CHECK(run_device(device, &good, stream) == MNCC_E_DEVICE && says("another context"));
  b = good;
  CHECK(cuMemAlloc_v2(&b.bias, sizeof bias) == 0);
  CHECK(run_device(device, &b, NULL) == MNCC_E_DEVICE && says("lies on device 1") && says("device 0"));
  CHECK(cuMemFree_v2(b.bias) == 0 && cuStreamDestroy_v2(stream) == 0 && cuCtxDestroy_v2(other) == 0);

  CHECK(run_device(device, &good, NULL) == MNCC_OK && says("") && message[0] == '\0');
  download(&good, NULL);
  check_outputs();
  free_buffers(&good);
  toy_device_close(device);
  CHECK(mine != NULL);
  leave_program();
  nothing_left("refused buffers");
}

static void refuses_host_buffers(void) {
  void *device = open_device(0);
  mncc_exec exec = on(device);
  CHECK(toy_run(NULL, bias, hidden, scores, NULL, 0, &exec) == MNCC_E_NULL && says("image"));
  CHECK(toy_run(image, bias, image, scores, NULL, 0, &exec) == MNCC_E_ALIGN && says("overlaps"));
  exec.device = NULL;
  CHECK(run(&exec) == MNCC_E_DEVICE && says("toy_device_open"));
  CHECK(run(NULL) == MNCC_E_DEVICE);
  void *foreign[8] = {NULL};
  exec.device = foreign;
  CHECK(run(&exec) == MNCC_E_DEVICE && says("no handle of this library"));
  CHECK(toy_run_device(foreign, image, bias, hidden, scores, NULL) == MNCC_E_DEVICE);
  exec.struct_size = 3;
  CHECK(run(&exec) == MNCC_E_ABI);
  toy_device_close(device);
  toy_device_close(NULL);
  nothing_left("refused host buffers");
}

static int32_t profiled;
static void on_kernel(void *user, int32_t index, const char *name, uint64_t nanoseconds) {
  const char *names[] = {"scale", "dense", "mix"};
  CHECK(user == &profiled && index == profiled && strcmp(name, names[index]) == 0 && nanoseconds == 1000);
  profiled++;
}

static void times_kernels(void) {
  void *device = open_device(0);
  mncc_exec exec = on(device);
  exec.on_kernel = on_kernel;
  exec.user = &profiled;
  profiled = 0;
  CHECK(run(&exec) == MNCC_OK && profiled == 3);
  check_outputs();
  toy_device_close(device);
  nothing_left("a profile");
}

/* Its launches are no graph's, which the driver would put behind what another stream still does in the same memory. */
static void a_profile_waits_for_other_streams(void) {
  CUstream stream;
  enter_program();
  CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == 0);
  void *device = open_device(0);
  const buffers b = new_buffers();
  poison(&b);
  CHECK(run_device(device, &b, stream) == MNCC_OK);
  const int before = driver->launches;
  mncc_exec exec = on(device);
  exec.on_kernel = on_kernel;
  exec.user = &profiled;
  profiled = 0;
  CHECK(run(&exec) == MNCC_OK && driver->launches == before + 6);
  CHECK(driver->log[before].from_graph && !driver->log[before + 3].from_graph);
  check_outputs();
  download(&b, stream);
  check_outputs();
  free_buffers(&b);
  toy_device_close(device);
  CHECK(cuStreamDestroy_v2(stream) == 0);
  leave_program();
  nothing_left("a profile beside a stream");
}

static void *refused(int32_t ordinal) {
  strcpy(message, "untouched");
  void *device = toy_device_open(ordinal, message, sizeof message);
  if (device == NULL) nothing_left(message);
  return device;
}

static void says_what_is_missing(void) {
  CHECK(refused(2) == NULL && says("no device 2") && says("has 2"));
  CHECK(refused(-1) == NULL && says("no device -1"));
  CHECK(toy_device_open(9, NULL, 0) == NULL);
  driver->devices = 0;
  CHECK(refused(0) == NULL && says("CUDA_VISIBLE_DEVICES"));
  driver->devices = 2;
  driver->driver_version = 12040;
  CHECK(refused(0) == NULL && says("driver is too old") && says("CUDA 12.4") && says("R580"));
  driver->compute_capability = 100; /* from PTX, which the driver compiles itself */
  CHECK(refused(0) == NULL && says("driver is too old") && says("CUDA_ERROR_UNSUPPORTED_PTX_VERSION"));
  driver->driver_version = 13000;
  toy_device_close(open_device(0));
  driver->compute_capability = 75;
  CHECK(refused(0) == NULL && says("sm_75") && says("holds sm_80, sm_90") && says("--target cuda-sm75"));
  driver->compute_capability = 86;
  toy_device_close(open_device(0));
  driver->compute_capability = 80;
  const size_t memory = driver->memory;
  driver->memory = 100;
  CHECK(refused(0) == NULL && says("no memory for the weights") && says("1744 bytes asked for, 100 of 100 free"));
  driver->memory = 1744 + 600;
  CHECK(refused(0) == NULL && says("no memory for image"));
  driver->memory = memory;
  nothing_left("refused devices");
}

/* The n-th call of the driver fails, for every n: an error that names what was done, nothing left, and the next try
 * works. */
static void survives_every_failure_of_open(void) {
  for (int n = 1;; n++) {
    driver->fail_at = n;
    driver->fail_with = CUDA_ERROR_LAUNCH_FAILED;
    strcpy(message, "untouched");
    void *device = toy_device_open(0, message, sizeof message);
    const int unused = driver->fail_at > 0;
    driver->fail_at = 0;
    if (device == NULL) CHECK(says("CUDA error 719") && says("CUDA_ERROR_LAUNCH_FAILED"));
    toy_device_close(device);
    nothing_left("a failure of open");
    if (unused) break;
    CHECK(device == NULL || strcmp(driver->failed, "cuCtxPopCurrent_v2") == 0);
  }
}

static void survives_every_failure_of_a_run(int profile) {
  void *device = open_device(0);
  mncc_exec exec = on(device);
  for (int n = 1;; n++) {
    driver->fail_at = n;
    driver->fail_with = CUDA_ERROR_LAUNCH_FAILED;
    exec.on_kernel = profile ? on_kernel : NULL;
    exec.user = &profiled;
    profiled = 0;
    strcpy(message, "untouched");
    const mncc_status status = run(&exec);
    const int unused = driver->fail_at > 0;
    driver->fail_at = 0;
    CHECK(standin()->depth == 0);
    if (unused) break;
    if (strcmp(driver->failed, "cuCtxPopCurrent_v2") == 0) continue;
    CHECK(status == MNCC_E_DEVICE && says("CUDA error 719") && says("context is broken"));
    exec.on_kernel = NULL;
    CHECK(run(&exec) == MNCC_OK);
    check_outputs();
  }
  toy_device_close(device);
  nothing_left("a failure of a run");
}

static void survives_every_failure_of_run_device(void) {
  enter_program();
  void *device = open_device(0);
  const buffers one = new_buffers(), two = new_buffers();
  CHECK(run_device(device, &two, NULL) == MNCC_OK);
  for (int n = 1;; n++) {
    driver->fail_at = n;
    driver->fail_with = CUDA_ERROR_LAUNCH_FAILED;
    const mncc_status status = run_device(device, &one, NULL);
    const int unused = driver->fail_at > 0;
    driver->fail_at = 0;
    CHECK(standin()->depth == 1);
    if (unused) break;
    const char *failed = driver->failed;
    if (strcmp(failed, "cuCtxPopCurrent_v2") != 0 && strcmp(failed, "cuPointerGetAttribute") != 0)
      CHECK(status == MNCC_E_DEVICE && says("CUDA error 719"));
    poison(&two); /* what the graph was bound to before it failed half way */
    CHECK(run_device(device, &two, NULL) == MNCC_OK);
    download(&two, NULL);
    check_outputs();
  }
  free_buffers(&one);
  free_buffers(&two);
  toy_device_close(device);
  leave_program();
  nothing_left("a failure of run_device");
}

int main(void) {
  driver = standin();
  tests_itself_and_gives_the_expected();
  asks_the_driver_for_little();
  launches_as_the_table_says();
  runs_on_the_callers_stream();
  is_captured_by_the_program();
  refuses_device_buffers();
  refuses_host_buffers();
  times_kernels();
  a_profile_waits_for_other_streams();
  says_what_is_missing();
  survives_every_failure_of_open();
  survives_every_failure_of_a_run(0);
  survives_every_failure_of_a_run(1);
  survives_every_failure_of_run_device();
  puts("ok");
  return 0;
}
