// The functions that the runtime looks for have the types that cuda.h gives them: a file that compiles or does not.
#define __CUDA_API_VERSION_INTERNAL  // the names as libcuda.so.1 exports them, with their versions
#include <cuda.h>

#include <type_traits>

#include "cuda_driver.h"

#define SAME(name, parameters) \
  static_assert(std::is_same<decltype(&name), CUresult(*) parameters>::value, #name " has other parameters");
DRIVER_FUNCTIONS(SAME)

int main() { return 0; }
