/* In place of on_cpu.h: kernels that tell trace.cpp of every access to memory. Compiled with -fsanitize=thread and linked
 * without its library, g++ calls __tsan_read16 and the like, which trace.cpp has. Not told: what a function's result is
 * stored to, as in *p = make_float4(...), which kernels do not write.
 */
#ifndef MNCC_TRACE_H
#define MNCC_TRACE_H
#include "on_cpu.h"

namespace cuda_on_cpu {

/* Of each thread: which of their rounds the loops around it are in. Lanes of a warp that are in the same round at the same
 * place are there at once on a GPU, however often each has come by. */
struct Rounds {
    uint64_t thread[1024];
};
inline Rounds rounds;

/* Declared at the head of a loop's body, of the loop's variable. */
class Round {
  public:
    explicit __attribute__((no_sanitize("thread"))) Round(uint64_t number)
        : slot(&rounds.thread[machine.current]), outside(*slot) {
        *slot = (outside * 1000003 + number + 1) * 0x9e3779b97f4a7c15u;
    }
    __attribute__((no_sanitize("thread"))) ~Round() { *slot = outside; }

  private:
    uint64_t *slot, outside;
};

} // namespace cuda_on_cpu
#endif
