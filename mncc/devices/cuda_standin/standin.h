/* A stand-in for NVIDIA's driver: libcuda.so.1 with kernels that run on the CPU, which counts what it is asked and fails
 * where it is told to. A program that loads it reaches its state through standin(). */
#ifndef MNCC_STANDIN_H
#define MNCC_STANDIN_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { STANDIN_LOG = 256, STANDIN_DEVICES = 4 };

typedef struct standin_launch {
  char symbol[64];
  uint32_t grid[3], block[3], shared_bytes;
  void *stream;
  int32_t from_graph;
} standin_launch;

typedef struct standin_state {
  /* What it pretends to be. */
  int32_t devices, driver_version, compute_capability, shared_bytes; /* 2, 13000, 80, 163 * 1024 */
  size_t memory;                                                      /* bytes of a device */
  /* The call number `fail_at`, counted from the setting (1: the next), answers `fail_with`. 0: none does. */
  int32_t fail_at, fail_with;
  /* What it was asked. */
  int64_t calls;
  char failed[64]; /* the function that was made to fail last */
  int64_t kernels, graph_launches, captures, node_updates, uploads, downloads;
  int64_t upload_bytes, download_bytes;
  int64_t launches; /* into `log`, which holds the first STANDIN_LOG */
  standin_launch log[STANDIN_LOG];
  /* What lives. */
  int64_t contexts, modules, allocations, streams, events, graphs, replays;
  int64_t bytes;
  int64_t depth; /* of the calling thread's stack of contexts */
  int64_t wrong; /* calls that no correct program makes: destroyed handles, no context, a busy capture */
  char first_wrong[128];
} standin_state;

standin_state *standin(void);

#ifdef __cplusplus
}
#endif
#endif
