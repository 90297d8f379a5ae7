/* Found by `#include <cuda.h>` in the kernels' text where on_cpu.h runs it. */
