/* Calls a kernel with as many tensor pointers as it has, through a pointer of its true type. */

#define TYPES_1 void *
#define TYPES_2 TYPES_1, void *
#define TYPES_3 TYPES_2, void *
#define TYPES_4 TYPES_3, void *
#define TYPES_5 TYPES_4, void *
#define TYPES_6 TYPES_5, void *
#define TYPES_7 TYPES_6, void *
#define TYPES_8 TYPES_7, void *
#define TYPES_9 TYPES_8, void *
#define TYPES_10 TYPES_9, void *
#define TYPES_11 TYPES_10, void *
#define TYPES_12 TYPES_11, void *
#define TYPES_13 TYPES_12, void *
#define TYPES_14 TYPES_13, void *
#define TYPES_15 TYPES_14, void *
#define TYPES_16 TYPES_15, void *

#define TENSORS_1 t[0]
#define TENSORS_2 TENSORS_1, t[1]
#define TENSORS_3 TENSORS_2, t[2]
#define TENSORS_4 TENSORS_3, t[3]
#define TENSORS_5 TENSORS_4, t[4]
#define TENSORS_6 TENSORS_5, t[5]
#define TENSORS_7 TENSORS_6, t[6]
#define TENSORS_8 TENSORS_7, t[7]
#define TENSORS_9 TENSORS_8, t[8]
#define TENSORS_10 TENSORS_9, t[9]
#define TENSORS_11 TENSORS_10, t[10]
#define TENSORS_12 TENSORS_11, t[11]
#define TENSORS_13 TENSORS_12, t[12]
#define TENSORS_14 TENSORS_13, t[13]
#define TENSORS_15 TENSORS_14, t[14]
#define TENSORS_16 TENSORS_15, t[15]

#define CALL(n)                                                                                                  \
  case n:                                                                                                        \
    return ((int32_t(*)(int32_t, int32_t, const void *, void *, TYPES_##n))function)(begin, end, weights, scratch, \
                                                                                     TENSORS_##n);

/* Items begin (inclusive) to end (exclusive) of one image. `t`: the inputs, what phases share, the output; `tensors` in
 * all. */
static int32_t call_kernel(kernel_function function, int32_t tensors, int32_t begin, int32_t end, const void *weights,
                           void *scratch, void *const *t) {
  switch (tensors) {
    CALL(1) CALL(2) CALL(3) CALL(4) CALL(5) CALL(6) CALL(7) CALL(8)
    CALL(9) CALL(10) CALL(11) CALL(12) CALL(13) CALL(14) CALL(15) CALL(16)
    default: return -1;
  }
}
