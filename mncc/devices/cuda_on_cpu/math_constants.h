/* Found by `#include <math_constants.h>` in the kernels' text where on_cpu.h runs it. */
#define CUDART_INF_F __builtin_inff()
#define CUDART_NAN_F __builtin_nanf("")
