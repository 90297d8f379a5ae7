/* What the generated tables are made of. `tables.h`, written by mncc, fills them in for one network. */
#ifndef MNCC_STRUCTURES_H
#define MNCC_STRUCTURES_H

/* A function of the kernel object; its true type has 1 to 16 tensor pointers (see call.c). */
typedef void (*kernel_function)(void);

/* Declares a function by its name in the object file; macOS puts an underscore before those of C. */
#define MNCC_STRING_(text) #text
#define MNCC_STRING(text) MNCC_STRING_(text)
#define MNCC_SYMBOL(name) __asm__(MNCC_STRING(__USER_LABEL_PREFIX__) name)

enum slot_base { SLOT_INPUT, SLOT_OUTPUT, SLOT_WORKSPACE };

/* Where a tensor of a kernel lies: image n at base + offset + n * image_stride (bytes). */
typedef struct slot {
  enum slot_base base;
  int32_t index; /* which input or output */
  int64_t offset, image_stride;
} slot;

/* Work that tasks share out: items of one image. All images make the same block of items before one makes the next, so
 * that weights are read once for all of them; a block of all items is image after image. */
typedef struct phase {
  int32_t items, block;
} phase;

/* One step of the network. Items count through its phases; a phase without items is none. */
typedef struct kernel {
  const char *name;
  kernel_function function;
  phase phases[2];
  int32_t images;
  int64_t weights_offset;
  int32_t first_slot, tensors; /* inputs, what is shared between phases, then the output: slots[first_slot ...] */
} kernel;

/* What the self test expects: output `tensor`, element `element`, `value` give or take `tolerance`. Where the targets of
 * a library store or compute differently, each has its own: variant is its number, else -1. */
typedef struct golden {
  int32_t variant;
  int32_t tensor;
  int64_t element;
  float value;
  double tolerance;
} golden;

/* An instruction set the kernels need. x86: a bit of a register (0 to 3: a, b, c, d) of a CPUID leaf, and the bits of
 * XCR0 by which the operating system says that it saves the registers. Linux on Arm: leaf is AT_HWCAP or AT_HWCAP2.
 * Apple: key is the name of a sysctl. */
typedef struct cpu_feature {
  const char *name;
  uint32_t leaf, subleaf;
  int32_t reg, bit;
  uint64_t xcr0;
  const char *key;
} cpu_feature;

/* The kernels for one processor, with their own places in the workspace; `parts` name it as read_parts does. */
typedef struct variant {
  const char *target;
  const kernel *kernels;
  int32_t kernel_count;
  const slot *slots;
  size_t tensor_bytes, scratch_bytes;
  const cpu_feature *features;
  int32_t feature_count;
  const uint32_t *parts;
  int32_t part_count;
} variant;

#endif
