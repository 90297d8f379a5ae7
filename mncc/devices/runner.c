/* Everything that mncc asks of a device: runs of a network, of its single kernels, and of the FMA peak meter. Linked
 * with the objects of a library's probe into one executable, which needs nothing else on the device.
 *
 *   runner REQUESTS ANSWERS [VARIANT]
 *
 * reads the file REQUESTS and writes the file ANSWERS; mncc/devices/runner.py has the other ends. Numbers are 64 bits,
 * little endian. REQUESTS is "mnccreq1" and records, each of them numbers and then bytes:
 *
 *   1 threads least most nanoseconds profile inputs   (size bytes) for every input
 *     Runs the network, by the rule of `more_runs`. `inputs` is 0 where they are those of the run before.
 *   2 kernel least most nanoseconds tensors           (size start given bytes) for every tensor
 *     Runs a kernel alone on a pointer `start` bytes into every tensor; what is not given is all ones: NaN.
 *   3 threads nanoseconds
 *     Measures the FMA peak.
 *   4
 *     Asks for the machine.
 *   0 ends the file.
 *
 * ANSWERS is "mnccans1" and a record for every record of REQUESTS, the end too, written before the next is read:
 *
 *   kind status text runs kernels buffers
 *
 * `text`: its size and bytes: what went wrong, the GFLOP/s, or system, architecture and number of CPUs. `runs`: how many,
 * and the nanoseconds of each. `kernels`: how many, and with `profile` the nanoseconds of every kernel of the first run,
 * of the second run, ... `buffers`: how many, and size and bytes of each: the outputs of the last run, the last tensor of
 * the kernel, or /proc/cpuinfo. The process exits with 0 when all requests are answered, whatever the answers; with 3
 * where a file cannot be read or written, 4 where memory lacks, 5 where REQUESTS is not what it should be, 6 where the processor cannot run the target number VARIANT of
 * a library for several; without it, the library chooses.
 */
#define _POSIX_C_SOURCE 200809L
#define _DARWIN_C_SOURCE /* macOS: the number of CPUs */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include MNCC_HEADER
#include "probe.h"

#include "fma_peak.h"
#include "tensors.h"

#define NAME(name) PROBE_NAME(name)

enum { END, RUN_NETWORK, RUN_KERNEL, MEASURE_PEAK, TELL_MACHINE };
enum { EXIT_FILE = 3, EXIT_MEMORY, EXIT_REQUEST, EXIT_CPU };
enum { ALIGN = 64, TEXT_BYTES = 512, MAX_TENSORS = 64 };

/* An aligned piece of memory that grows. */
typedef struct {
  unsigned char *bytes;
  size_t size, room;
} buffer;

static FILE *requests, *answers;

static void stop(int status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "runner: ");
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  va_end(arguments);
  exit(status);
}

/* Room for `size` bytes; new memory is all ones. What was there is lost where it has to move. */
static void resize(buffer *b, size_t size) {
  if (size > b->room || b->bytes == NULL) {
    void *memory = NULL;
    free(b->bytes);
    if (posix_memalign(&memory, ALIGN, size + ALIGN) != 0) stop(EXIT_MEMORY, "no memory for %zu bytes", size);
    memset(memory, 0xff, size + ALIGN);
    b->bytes = memory;
    b->room = size;
  }
  b->size = size;
}

static void read_bytes(void *to, size_t size) {
  if (size > 0 && fread(to, 1, size, requests) != size)
    stop(EXIT_REQUEST, ferror(requests) ? strerror(errno) : "the requests end too early");
}

static uint64_t read_number(void) {
  uint64_t number;
  read_bytes(&number, sizeof number);
  return number;
}

/* A number that must be at most `most`. */
static uint64_t read_up_to(uint64_t most, const char *what) {
  const uint64_t number = read_number();
  if (number > most) stop(EXIT_REQUEST, "%s is %llu, at most %llu", what, (unsigned long long)number,
                          (unsigned long long)most);
  return number;
}

static void write_bytes(const void *from, size_t size) {
  if (size > 0 && fwrite(from, 1, size, answers) != size) stop(EXIT_FILE, "the answers: %s", strerror(errno));
}

static void write_number(uint64_t number) { write_bytes(&number, sizeof number); }

static void write_buffer(const buffer *b) {
  write_number(b->size);
  write_bytes(b->bytes, b->size);
}

static void write_numbers(const buffer *numbers) {
  write_number(numbers == NULL ? 0 : numbers->size / sizeof(uint64_t));
  if (numbers != NULL) write_bytes(numbers->bytes, numbers->size);
}

/* The beginning of an answer; the number of buffers and they follow. */
static void write_head(uint64_t kind, int64_t status, const char *text, const buffer *runs, const buffer *kernels) {
  write_number(kind);
  write_number((uint64_t)status);
  write_number(strlen(text));
  write_bytes(text, strlen(text));
  write_numbers(runs);
  write_numbers(kernels);
}

/* How often something is run, and how long each took. */
typedef struct {
  uint64_t least, most, nanoseconds; /* at least, at most, and between them until so long has passed */
  clockid_t clock;
  uint64_t runs, spent, began;
  buffer times;
} repetition;

static uint64_t now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void append(buffer *numbers, uint64_t number) {
  const size_t size = numbers->size;
  if (size + sizeof number > numbers->room) {
    buffer larger = {NULL, 0, 0};
    resize(&larger, 2 * size + 1024);
    memcpy(larger.bytes, numbers->bytes, size);
    free(numbers->bytes);
    *numbers = larger;
  }
  numbers->size = size + sizeof number;
  memcpy(numbers->bytes + size, &number, sizeof number);
}

/* One thread is timed by the CPU time of the process, several by the wall clock. */
static void read_repetition(repetition *r, uint64_t threads) {
  r->least = read_number();
  r->most = read_number();
  r->nanoseconds = read_number();
  r->clock = threads > 1 ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID;
  r->runs = r->spent = 0;
  resize(&r->times, 0);
}

static int more_runs(const repetition *r) {
  return r->runs < r->least || (r->runs < r->most && r->spent < r->nanoseconds);
}

static void begin_run(repetition *r) { r->began = now(r->clock); }

static void end_run(repetition *r) {
  const uint64_t took = now(r->clock) - r->began;
  append(&r->times, took);
  r->runs++;
  r->spent += took;
}

static void on_kernel(void *user, int32_t index, const char *name, uint64_t nanoseconds) {
  (void)index, (void)name;
  append(user, nanoseconds);
}

/* A copy of the mncc_exec of a pool that is kept until another number of threads is asked for. */
static mncc_exec how_to_run(int32_t threads) {
  static mncc_exec *pool;
  static int32_t pool_threads;
  mncc_exec exec = {0};
  exec.struct_size = sizeof exec;
  exec.threads = 1;
  if (threads > 1 && threads != pool_threads) {
    NAME(pool_destroy)(pool);
    if ((pool = NAME(pool_create)(threads)) == NULL) stop(EXIT_MEMORY, "no pool of %d threads", (int)threads);
    pool_threads = threads;
  }
  if (threads > 1) exec = *pool;
  return exec;
}

/* The buffers of the network's inputs and outputs; inputs are read where there are any. */
static void bind_tensors(const mncc_model *model, uint64_t given, const void **sources, buffer *outputs, void **sinks) {
  static buffer inputs[MAX_TENSORS];
  if (model->inputs > MAX_TENSORS || model->outputs > MAX_TENSORS || (given != 0 && given != (uint64_t)model->inputs))
    stop(EXIT_REQUEST, "%llu inputs, the network has %d", (unsigned long long)given, (int)model->inputs);
  for (int32_t i = 0; i < model->inputs; i++) {
    const size_t size = tensor_bytes(tensor_at(model->input, i));
    if (given != 0 && read_number() != size) stop(EXIT_REQUEST, "input %d has %zu bytes", (int)i, size);
    resize(&inputs[i], size);
    if (given != 0) read_bytes(inputs[i].bytes, size);
    sources[i] = inputs[i].bytes;
  }
  for (int32_t o = 0; o < model->outputs; o++) {
    resize(&outputs[o], tensor_bytes(tensor_at(model->output, o)));
    sinks[o] = outputs[o].bytes;
  }
}

static void run_network(void) {
  static buffer outputs[MAX_TENSORS], workspace, kernels;
  static repetition repeated;
  const mncc_model *model = NAME(model)();
  const void *sources[MAX_TENSORS];
  void *sinks[MAX_TENSORS];
  char text[TEXT_BYTES] = "";
  const uint64_t threads = read_up_to(1024, "the number of threads");
  read_repetition(&repeated, threads);
  const uint64_t profile = read_number(), given = read_number();
  bind_tensors(model, given, sources, outputs, sinks);
  resize(&workspace, model->workspace_bytes((int32_t)threads));
  resize(&kernels, 0);
  mncc_exec exec = how_to_run((int32_t)threads);
  exec.message = text;
  exec.message_bytes = sizeof text;
  if (profile) exec.on_kernel = on_kernel, exec.user = &kernels;
  mncc_status status = MNCC_OK;
  while (status == MNCC_OK && more_runs(&repeated)) {
    begin_run(&repeated);
    status = model->run(sources, sinks, workspace.bytes, workspace.size, &exec);
    end_run(&repeated);
  }
  if (status != MNCC_OK && text[0] == '\0') snprintf(text, sizeof text, "%s", model->status_string(status));
  write_head(RUN_NETWORK, status, text, &repeated.times, &kernels);
  write_number((uint64_t)model->outputs);
  for (int32_t o = 0; o < model->outputs; o++) write_buffer(&outputs[o]);
}

static void run_kernel(void) {
  static buffer tensors[MAX_TENSORS], scratch;
  static repetition repeated;
  const mncc_model *model = NAME(model)();
  void *pointers[MAX_TENSORS];
  const int32_t kernel = (int32_t)read_up_to(INT32_MAX, "the kernel");
  read_repetition(&repeated, 1);
  const uint64_t count = read_up_to(MAX_TENSORS, "the number of tensors");
  for (uint64_t t = 0; t < count; t++) {
    const uint64_t size = read_up_to(SIZE_MAX / 2, "the size of a tensor");
    const uint64_t start = read_up_to(size, "the start of a tensor"), given = read_number();
    resize(&tensors[t], (size_t)size);
    if (given != 0)
      read_bytes(tensors[t].bytes, tensors[t].size);
    else
      memset(tensors[t].bytes, 0xff, tensors[t].size);
    pointers[t] = tensors[t].bytes + start;
  }
  resize(&scratch, model->workspace_bytes(2) - model->workspace_bytes(1));
  int32_t answer = 0;
  while (answer == 0 && more_runs(&repeated)) {
    begin_run(&repeated);
    answer = NAME(probe)(kernel, pointers, scratch.bytes);
    end_run(&repeated);
  }
  write_head(RUN_KERNEL, answer, answer == 0 ? "" : "the kernel failed", &repeated.times, NULL);
  write_number(count > 0);
  if (count > 0) write_buffer(&tensors[count - 1]);
}

static void measure_peak(void) {
  char text[TEXT_BYTES];
  const char *name;
  const int threads = (int)read_up_to(1024, "the number of threads");
  const double gflops = fma_peak(threads, 1e-9 * (double)read_number(), &name);
  if (gflops < 0)
    snprintf(text, sizeof text, "%d threads cannot be made", threads);
  else
    snprintf(text, sizeof text, "%.6f", gflops);
  write_head(MEASURE_PEAK, gflops < 0 ? -1 : 0, text, NULL, NULL);
  write_number(0);
}

static void tell_machine(void) {
  static buffer cpuinfo;
  char text[TEXT_BYTES] = "";
  struct utsname names;
  if (uname(&names) == 0)
    snprintf(text, sizeof text, "%s %s %ld", names.sysname, names.machine, sysconf(_SC_NPROCESSORS_ONLN));
  resize(&cpuinfo, 65536);
  FILE *file = fopen("/proc/cpuinfo", "rb");
  cpuinfo.size = file == NULL ? 0 : fread(cpuinfo.bytes, 1, cpuinfo.room, file);
  if (file != NULL) fclose(file);
  write_head(TELL_MACHINE, 0, text, NULL, NULL);
  write_number(1);
  write_buffer(&cpuinfo);
}

int main(int count, char **arguments) {
  if (count != 3 && count != 4) stop(2, "usage: runner REQUESTS ANSWERS [VARIANT]");
  if (count == 4 && NAME(probe_select)(atoi(arguments[3])) != 0) stop(EXIT_CPU, "no target %s here", arguments[3]);
  const struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core); /* a kernel that crashes is told by the signal, and a device may be small */
  if ((requests = fopen(arguments[1], "rb")) == NULL) stop(EXIT_FILE, "%s: %s", arguments[1], strerror(errno));
  if ((answers = fopen(arguments[2], "wb")) == NULL) stop(EXIT_FILE, "%s: %s", arguments[2], strerror(errno));
  char magic[8];
  read_bytes(magic, sizeof magic);
  if (memcmp(magic, "mnccreq1", sizeof magic) != 0) stop(EXIT_REQUEST, "the requests are of another version of mncc");
  write_bytes("mnccans1", sizeof magic);
  for (uint64_t kind = read_number(); kind != END; kind = read_number()) {
    if (kind == RUN_NETWORK)
      run_network();
    else if (kind == RUN_KERNEL)
      run_kernel();
    else if (kind == MEASURE_PEAK)
      measure_peak();
    else if (kind == TELL_MACHINE)
      tell_machine();
    else
      stop(EXIT_REQUEST, "a request of kind %llu", (unsigned long long)kind);
    if (fflush(answers) != 0) stop(EXIT_FILE, "the answers: %s", strerror(errno)); /* a crash loses what comes after */
  }
  write_head(END, 0, "", NULL, NULL);
  write_number(0);
  if (fclose(answers) != 0) stop(EXIT_FILE, "the answers: %s", strerror(errno));
  return 0;
}
