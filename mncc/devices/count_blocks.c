/* A plugin for qemu-user that counts which code ran, how often, and between which marks. Built by counting.py.
 *
 * qemu translates code in blocks, straight pieces of it that are left at their end; every execution of a block calls
 * `block_runs`. The program that is counted sets marks by the system call close(MARK + tag), which fails and does
 * nothing else: what ran since the mark before is counted for the tag, from 0 to 65535. What runs after the last mark
 * is not reported. One thread is counted exactly; those of several may lose counts to each other.
 *
 * When the program ends, the file named by the plugin's argument out=FILE gets a line a mark tag, `mark TAG TIMES`; and
 * for every block that ran before a mark `block ADDRESS INSTRUCTIONS`, then each instruction's address and text in a
 * line, then `ran TAG TIMES` a tag.
 *
 * The declarations are those of qemu's interface for plugins that this one needs, which no package ships for qemu 7.2.
 * They are the same in all versions of it; what differs is the number that a plugin states, PLUGIN_API. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum callback_flags { NO_REGISTERS };
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), enum callback_flags,
                                          void *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
                                                              uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                              uint64_t));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
char *qemu_plugin_insn_disas(const struct qemu_plugin_insn *);

#define VISIBLE __attribute__((visibility("default")))
VISIBLE extern int qemu_plugin_version;
int qemu_plugin_version = PLUGIN_API;

#define MARK 0x6d6e0000u
#define TAGS 65536

typedef struct ran {
  uint32_t tag;
  uint64_t times;
  struct ran *next;
} ran;

typedef struct instruction {
  uint64_t address;
  char *text;
} instruction;

typedef struct block {
  struct block *next;
  uint64_t runs, settled; /* all of them, and those that have a tag */
  ran *tagged;
  uint64_t address;
  size_t count;
  instruction code[];
} block;

static block *blocks; /* qemu translates under a lock, so that only one thread at a time adds to them */
static uint64_t marks[TAGS];
static const char *path;

static void *needed(void *memory) {
  if (memory == NULL) {
    fputs("the counting plugin has no memory left\n", stderr);
    exit(1);
  }
  return memory;
}

static void block_runs(unsigned cpu, void *data) {
  (void)cpu;
  ((block *)data)->runs++;
}

static void block_is_translated(plugin_id id, struct qemu_plugin_tb *translated) {
  (void)id;
  const size_t count = qemu_plugin_tb_n_insns(translated);
  block *b = needed(calloc(1, sizeof *b + count * sizeof *b->code));
  b->address = qemu_plugin_tb_vaddr(translated);
  b->count = count;
  for (size_t i = 0; i < count; i++) {
    const struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(translated, i);
    b->code[i] = (instruction){qemu_plugin_insn_vaddr(insn), qemu_plugin_insn_disas(insn)};
  }
  b->next = blocks;
  blocks = b;
  qemu_plugin_register_vcpu_tb_exec_cb(translated, block_runs, NO_REGISTERS, b);
}

static void count_for(block *b, uint32_t tag) {
  ran *r = b->tagged;
  while (r != NULL && r->tag != tag) r = r->next;
  if (r == NULL) {
    r = needed(malloc(sizeof *r));
    *r = (ran){tag, 0, b->tagged};
    b->tagged = r;
  }
  r->times += b->runs - b->settled;
  b->settled = b->runs;
}

static void system_is_called(plugin_id id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                             uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)cpu, (void)number, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (a1 < MARK || a1 >= MARK + TAGS) return;
  const uint32_t tag = (uint32_t)(a1 - MARK);
  marks[tag]++;
  for (block *b = blocks; b != NULL; b = b->next)
    if (b->runs != b->settled) count_for(b, tag);
}

static void program_ends(plugin_id id, void *data) {
  (void)id, (void)data;
  FILE *out = fopen(path, "w");
  if (out == NULL) {
    perror(path);
    return;
  }
  for (uint32_t tag = 0; tag < TAGS; tag++)
    if (marks[tag] > 0) fprintf(out, "mark %" PRIu32 " %" PRIu64 "\n", tag, marks[tag]);
  for (const block *b = blocks; b != NULL; b = b->next) {
    if (b->tagged == NULL) continue;
    fprintf(out, "block %" PRIx64 " %zu\n", b->address, b->count);
    for (size_t i = 0; i < b->count; i++)
      fprintf(out, "%" PRIx64 " %s\n", b->code[i].address, b->code[i].text == NULL ? "?" : b->code[i].text);
    for (const ran *r = b->tagged; r != NULL; r = r->next)
      fprintf(out, "ran %" PRIu32 " %" PRIu64 "\n", r->tag, r->times);
  }
  fputs("end\n", out);
  fclose(out);
}

VISIBLE int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
  (void)info;
  for (int i = 0; i < count; i++)
    if (strncmp(arguments[i], "out=", 4) == 0) path = needed(strdup(arguments[i] + 4));
  if (path == NULL) {
    fputs("the counting plugin needs out=FILE\n", stderr);
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, block_is_translated);
  qemu_plugin_register_vcpu_syscall_cb(id, system_is_called);
  qemu_plugin_register_atexit_cb(id, program_ends, NULL);
  return 0;
}
