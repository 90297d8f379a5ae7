/* Runs a network under qemu for the counting plugin (count_blocks.c), which it tells by marks what is running.
 *
 *     counted INPUT... OUTPUT...      files of float32, one an input and output of the network
 *     counted                         made inputs, no files
 *
 * It runs three times: once uncounted; once whole, tag 1; once with a mark behind every kernel, tag 2 for the first.
 * MODEL is the library's NAME_model. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include HEADER

#include "tensors.h"

enum { MARK = 0x6d6e0000, NOT_COUNTED = 0, WHOLE = 1, FIRST_KERNEL = 2 };

static void mark(int tag) { close(MARK + tag); }

static void kernel_is_done(void *user, int32_t index, const char *name, uint64_t nanoseconds) {
  (void)user, (void)name, (void)nanoseconds;
  mark(FIRST_KERNEL + index);
}

static int fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void *room(size_t bytes) {
  void *memory = NULL;
  if (posix_memalign(&memory, 64, bytes + 64) != 0) fail("no memory");
  return memory;
}

static void *input_at(const mncc_model *model, int32_t index, const char *path) {
  const size_t bytes = tensor_bytes(tensor_at(model->input, index));
  float *memory = room(bytes);
  if (path == NULL) {
    for (size_t i = 0; i < bytes / sizeof *memory; i++) memory[i] = (float)(i * 37 % 255) / 127.0f - 1.0f;
    return memory;
  }
  FILE *file = fopen(path, "rb");
  if (file == NULL || fread(memory, 1, bytes, file) != bytes) fail("an input cannot be read");
  fclose(file);
  return memory;
}

int main(int argc, char **argv) {
  const mncc_model *model = MODEL();
  if (argc != 1 && argc != 1 + model->inputs + model->outputs) return fail("wrong number of files");
  const void **inputs = room((size_t)model->inputs * sizeof *inputs);
  void **outputs = room((size_t)model->outputs * sizeof *outputs);
  for (int32_t i = 0; i < model->inputs; i++) inputs[i] = input_at(model, i, argc == 1 ? NULL : argv[1 + i]);
  for (int32_t i = 0; i < model->outputs; i++) outputs[i] = room(tensor_bytes(tensor_at(model->output, i)));
  const size_t bytes = model->workspace_bytes(1);
  void *workspace = room(bytes);
  char message[256] = "";
  mncc_exec exec = {.struct_size = sizeof exec, .threads = 1, .message = message, .message_bytes = sizeof message};
  mncc_status status = model->run(inputs, outputs, workspace, bytes, &exec);
  mark(NOT_COUNTED);
  if (status == MNCC_OK) status = model->run(inputs, outputs, workspace, bytes, &exec);
  mark(WHOLE);
  exec.on_kernel = kernel_is_done;
  if (status == MNCC_OK) status = model->run(inputs, outputs, workspace, bytes, &exec);
  if (status != MNCC_OK) return fail(message);
  for (int32_t i = 0; i < model->outputs && argc > 1; i++) {
    const size_t size = tensor_bytes(tensor_at(model->output, i));
    FILE *file = fopen(argv[1 + model->inputs + i], "wb");
    if (file == NULL || fwrite(outputs[i], 1, size, file) != size || fclose(file) != 0) fail("an output is not written");
  }
  return 0;
}
