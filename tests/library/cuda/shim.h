// Enough of CUDA C++ to run the toy kernels on a CPU: blocks one after the other, a fibre a thread, which goes on to the
// next barrier; shared memory is NaN where a block begins.
#include <ucontext.h>

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

struct dim3 {
  unsigned x, y, z;
};
namespace shim {
inline dim3 grid, block, block_index;
inline std::vector<dim3> index;
inline std::vector<ucontext_t> fibres;
inline std::vector<char> done;
inline ucontext_t scheduler;
inline unsigned current;
inline void (*body)(void **);
inline void **parameters;
inline unsigned char dynamic[228 << 10];

inline void wait() { swapcontext(&fibres[current], &scheduler); }
inline void fibre() {
  body(parameters);
  done[current] = 1;
  wait();
}
inline void run(const unsigned *e, void (*function)(void **), void **given) {
  const unsigned threads = e[3] * e[4] * e[5];
  grid = {e[0], e[1], e[2]}, block = {e[3], e[4], e[5]}, body = function, parameters = given;
  index.resize(threads), fibres.resize(threads);
  std::vector<char> stacks(threads * (32 << 10));
  for (unsigned t = 0; t < threads; ++t) index[t] = {t % e[3], t / e[3] % e[4], t / e[3] / e[4]};
  for (unsigned b = 0; b < e[0] * e[1] * e[2]; ++b) {
    block_index = {b % e[0], b / e[0] % e[1], b / e[0] / e[1]};
    memset(dynamic, 0xff, e[6]);
    done.assign(threads, 0);
    for (unsigned t = 0; t < threads; ++t) {
      getcontext(&fibres[t]);
      fibres[t].uc_stack.ss_sp = &stacks[t * (32 << 10)];
      fibres[t].uc_stack.ss_size = 32 << 10;
      fibres[t].uc_link = nullptr;
      makecontext(&fibres[t], fibre, 0);
    }
    for (unsigned left = threads; left > 0;)
      for (unsigned t = 0; t < threads; ++t)
        if (!done[t]) current = t, swapcontext(&scheduler, &fibres[t]), left -= done[t];
  }
}
template <class... P, size_t... I>
void call(void (*function)(P...), void **p, std::index_sequence<I...>) {
  function(*static_cast<P *>(p[I])...);
}
template <class... P>
void call(void (*function)(P...), void **p) {
  call(function, p, std::index_sequence_for<P...>{});
}
}  // namespace shim
#define __global__
#define __shared__
#define threadIdx (shim::index[shim::current])
#define blockIdx (shim::block_index)
#define blockDim (shim::block)
inline void __syncthreads() { shim::wait(); }
