/* Every status that a caller can provoke, with its message, on the toy network. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "toy.h"

static float image[TOY_IMAGE_ELEMS], bias[TOY_BIAS_ELEMS], hidden[TOY_HIDDEN_ELEMS], scores[TOY_SCORES_ELEMS];
static char message[200];
static unsigned char *workspace;

static mncc_exec serial(void) {
  mncc_exec exec;
  memset(&exec, 0, sizeof exec);
  exec.struct_size = sizeof exec;
  exec.message = message;
  exec.message_bytes = sizeof message;
  strcpy(message, "untouched");
  return exec;
}

static int says(const char *part) { return strstr(message, part) != NULL; }

static void describes_itself(void) {
  const mncc_model *model = toy_model();
  const int32_t shape[] = TOY_IMAGE_SHAPE;
  CHECK(model->struct_size == sizeof(mncc_model) && model->abi == TOY_ABI);
  CHECK(strcmp(model->name, "toy") == 0 && strcmp(model->hash, TOY_MODEL_HASH) == 0);
  CHECK(model->inputs == 2 && model->outputs == 2);
  CHECK(strcmp(model->input[0].name, "image") == 0 && strcmp(model->output[1].name, "scores") == 0);
  CHECK(model->input[0].dtype == MNCC_FLOAT32 && model->input[0].rank == 4);
  CHECK(memcmp(model->input[0].shape, shape, sizeof shape) == 0);
  CHECK(model->input[0].scale == 1.0f && model->input[0].zero_point == 0);
  CHECK(model->workspace_bytes(1) == TOY_WORKSPACE_BYTES && model->workspace_bytes(-3) == TOY_WORKSPACE_BYTES);
  CHECK(model->workspace_bytes(3) == TOY_WORKSPACE_BYTES + 2 * 64);
  for (mncc_status status = MNCC_OK; status <= MNCC_E_ABI; status++)
    CHECK(strcmp(model->status_string(status), "unknown status") != 0);
  CHECK(strcmp(model->status_string(99), "unknown status") == 0);
}

static void refuses_buffers(void) {
  mncc_exec exec = serial();
  CHECK(toy_run(NULL, bias, hidden, scores, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_NULL && says("image"));
  CHECK(toy_run(image, bias, hidden, NULL, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_NULL && says("scores"));
  CHECK(toy_run(image, bias, hidden, scores, NULL, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_NULL && says("workspace"));
  CHECK(toy_model()->run(NULL, NULL, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_NULL);
  const float *odd = (const float *)(const void *)((const char *)image + 1);
  CHECK(toy_run(odd, bias, hidden, scores, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_ALIGN && says("image"));
  CHECK(toy_run(image, bias, hidden, scores, workspace + 32, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_ALIGN);
  CHECK(says("64 bytes"));
  CHECK(toy_run(image, bias, image, scores, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_ALIGN);
  CHECK(says("overlaps input \"image\""));
  CHECK(toy_run(image, bias, hidden, hidden + TOY_HIDDEN_ELEMS - 1, workspace, TOY_WORKSPACE_BYTES, &exec) ==
        MNCC_E_ALIGN);
  CHECK(says("overlaps output"));
  float *inside = (float *)(void *)workspace;
  CHECK(toy_run(image, bias, hidden, inside, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_ALIGN);
  CHECK(toy_run(image, inside, hidden, scores, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_WORKSPACE);
  CHECK(toy_run(image, bias, hidden, scores, workspace, TOY_WORKSPACE_BYTES - 1, &exec) == MNCC_E_WORKSPACE);
  CHECK(says("has 191 bytes") && says("1 thread needs 192"));
  strcpy(message, "untouched");
  CHECK(toy_run(image, bias, hidden, scores, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_OK);
  CHECK(says("untouched"));
  CHECK(toy_run(image, bias, hidden, scores, workspace, TOY_WORKSPACE_BYTES, NULL) == MNCC_OK);
}

static void truncates_messages(void) {
  mncc_exec exec = serial();
  exec.message_bytes = 4;
  CHECK(toy_run(NULL, bias, hidden, scores, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_NULL);
  CHECK(strcmp(message, "inp") == 0);
  exec.message_bytes = 0;
  strcpy(message, "untouched");
  CHECK(toy_run(NULL, bias, hidden, scores, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_NULL);
  CHECK(says("untouched"));
  exec.message = NULL;
  CHECK(toy_run(NULL, bias, hidden, scores, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_NULL);
}

/* A program that is older than the library states a smaller struct, a newer one a larger. */
static void reads_other_versions(void) {
  struct {
    mncc_exec exec;
    void *added;
  } newer;
  mncc_exec exec = serial();
  const size_t bytes = TOY_WORKSPACE_BYTES;
  exec.struct_size = 0;
  CHECK(toy_run(image, bias, hidden, scores, workspace, bytes, &exec) == MNCC_E_ABI);
  exec.struct_size = sizeof exec - 1;
  CHECK(toy_run(image, bias, hidden, scores, workspace, bytes, &exec) == MNCC_E_ABI);
  exec.struct_size = 8; /* struct_size and threads alone: what lies behind is not read */
  exec.parallel_for = (void (*)(void *, void (*)(void *, int32_t), void *, int32_t))(uintptr_t)1;
  exec.on_kernel = (void (*)(void *, int32_t, const char *, uint64_t))(uintptr_t)1;
  exec.threads = 2;
  CHECK(toy_run(image, bias, hidden, scores, workspace, bytes, &exec) == MNCC_OK);
  memset(&newer, 0, sizeof newer);
  newer.exec = serial();
  newer.exec.struct_size = sizeof newer;
  CHECK(toy_run(image, bias, hidden, scores, workspace, bytes, &newer.exec) == MNCC_OK);
  newer.added = &newer;
  CHECK(toy_run(image, bias, hidden, scores, workspace, bytes, &newer.exec) == MNCC_E_ABI && says("does not know"));
}

static void needs_workspace_for_threads(void) {
  mncc_exec *pool = toy_pool_create(3);
  CHECK(pool != NULL && pool->struct_size == sizeof *pool && pool->threads == 3);
  mncc_exec exec = *pool;
  exec.message = message;
  exec.message_bytes = sizeof message;
  CHECK(toy_run(image, bias, hidden, scores, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_E_WORKSPACE);
  CHECK(says("3 threads need 320"));
  exec.parallel_for = NULL; /* without it a run is serial, and so is its workspace */
  CHECK(toy_run(image, bias, hidden, scores, workspace, TOY_WORKSPACE_BYTES, &exec) == MNCC_OK);
  toy_pool_destroy(pool);
  toy_pool_destroy(NULL);
  CHECK(toy_pool_create(1025) == NULL);
  pool = toy_pool_create(-1);
  CHECK(pool != NULL && pool->threads == 1);
  toy_pool_destroy(pool);
}

static void tests_itself(void) {
  const mncc_model *model = toy_model();
  unsigned char *memory = new_workspace(TOY_SELFTEST_BYTES + 64);
  mncc_exec exec = serial();
  CHECK(model->selftest(memory, TOY_SELFTEST_BYTES, &exec) == MNCC_OK);
  CHECK(model->selftest(memory, TOY_SELFTEST_BYTES, NULL) == MNCC_OK);
  CHECK(model->selftest(NULL, TOY_SELFTEST_BYTES, &exec) == MNCC_E_NULL);
  CHECK(model->selftest(memory + 4, TOY_SELFTEST_BYTES, &exec) == MNCC_E_ALIGN);
  CHECK(model->selftest(memory, TOY_SELFTEST_BYTES - 1, &exec) == MNCC_E_WORKSPACE);
  mncc_exec *pool = toy_pool_create(4);
  CHECK(model->selftest(memory, TOY_SELFTEST_BYTES, pool) == MNCC_OK);
  CHECK(model->selftest(memory, TOY_SELFTEST_BYTES + 64, pool) == MNCC_OK);
  toy_pool_destroy(pool);
  free(memory);
}

int main(void) {
  workspace = new_workspace(1024);
  describes_itself();
  refuses_buffers();
  truncates_messages();
  reads_other_versions();
  needs_workspace_for_threads();
  tests_itself();
  free(workspace);
  puts("ok");
  return 0;
}
