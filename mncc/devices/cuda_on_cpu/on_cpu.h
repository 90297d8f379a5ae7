/* Runs CUDA C++ kernels on the CPU, exactly and slowly: include it in front of their text and compile with g++.
 *
 * One block runs at a time, each of its threads as a fibre. A barrier switches to the next fibre. Warps run depth first, as
 * far as the next barrier of the block, so that a __syncthreads() that is missing shows: one warp is far ahead of the
 * others. Shared memory is full of NaN before every block. A barrier that not all threads reach is an error.
 *
 * A launch answers 0, or 1 with the reason in cuda_on_cpu_error(). Not covered: timing, the memory model between barriers
 * of a warp, contraction to fused multiply-adds, faults of misaligned accesses.
 */
#ifndef MNCC_CUDA_ON_CPU_H
#define MNCC_CUDA_ON_CPU_H

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
/* One block runs at a time: what is static is the block's. The section is known by its ends. */
#define __shared__ static __attribute__((section("cuda_shared")))
/* What a launch sizes is no static array: `extern __shared__ uchar a[];` is rewritten to this (`on_cpu` in __init__.py). */
#define CUDA_DYNAMIC_SHARED(type, name) type *const name = static_cast<type *>(cuda_on_cpu::dynamic_shared())

template <class T, int N> struct cuda_vector;
template <class T> struct alignas(2 * sizeof(T)) cuda_vector<T, 2> { T x, y; };
template <class T> struct cuda_vector<T, 3> { T x, y, z; };
template <class T> struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) cuda_vector<T, 4> { T x, y, z, w; };
#define CUDA_VECTORS(type, name)                                                                       \
    using name##2 = cuda_vector<type, 2>;                                                              \
    using name##3 = cuda_vector<type, 3>;                                                              \
    using name##4 = cuda_vector<type, 4>;                                                              \
    inline name##2 make_##name##2(type a, type b) { return {a, b}; }                                   \
    inline name##3 make_##name##3(type a, type b, type c) { return {a, b, c}; }                        \
    inline name##4 make_##name##4(type a, type b, type c, type d) { return {a, b, c, d}; }
CUDA_VECTORS(float, float)
CUDA_VECTORS(int, int)
CUDA_VECTORS(unsigned, uint)
CUDA_VECTORS(short, short)
CUDA_VECTORS(unsigned short, ushort)
using dim3 = uint3;

/* The maximum of two floats is the number where the other is NaN, as the GPU's is. */
inline float max(float a, float b) { return fmaxf(a, b); }
inline float min(float a, float b) { return fminf(a, b); }
template <class T, class = std::enable_if_t<std::is_integral_v<T>>> inline T max(T a, T b) { return a > b ? a : b; }
template <class T, class = std::enable_if_t<std::is_integral_v<T>>> inline T min(T a, T b) { return a < b ? a : b; }
inline float __ldg(const float *p) { return *p; }

namespace cuda_on_cpu {

enum State : char { RUNS, AT_BLOCK, AT_WARP, DONE };
constexpr size_t STACK = 64 << 10;
constexpr int LANES = 32;
/* Of dynamic shared memory: what the largest GPU gives a block, and what its start is aligned to. */
constexpr size_t MOST_SHARED = 227 << 10, ALIGNED = 16;

struct Fibre {
#if defined(__x86_64__)
    void *stack_pointer;
#else
    ucontext_t context;
#endif
};

struct Machine {
    uint3 block{}, thread[1024];
    dim3 grid{}, threads{};
    Fibre fibre[1024], scheduler;
    State state[1024];
    uint64_t published[1024];
    unsigned fences[1024];
    int count = 0, current = 0;
    char *stacks = nullptr;
    /* As much dynamic shared memory as the launch asks for, in front of a page that nobody may touch. */
    char *shared = nullptr, *shared_end = nullptr;
    void (*body)(void **) = nullptr;
    void **parameters = nullptr;
    /* For trace.cpp: whether a thread of a kernel runs, what is done whenever a warp has got to a barrier, and how many
     * blocks of a launch run, of those that come first in its order. */
    bool running = false;
    void (*after_warp)() = nullptr;
    unsigned most_blocks = ~0u;
    char error[200] = "";
};
inline Machine machine;

#if defined(__x86_64__)
/* Saves what a call keeps on the stack, and takes it from another. */
__asm__(".text\n.weak cuda_on_cpu_switch\n.type cuda_on_cpu_switch, @function\n"
        "cuda_on_cpu_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size cuda_on_cpu_switch, .-cuda_on_cpu_switch\n");
extern "C" void cuda_on_cpu_switch(void **from, void *to);
inline void go(Fibre &from, Fibre &to) { cuda_on_cpu_switch(&from.stack_pointer, to.stack_pointer); }
#else
inline void go(Fibre &from, Fibre &to) { swapcontext(&from.context, &to.context); }
#endif

inline void wait(State reason) {
    machine.state[machine.current] = reason;
    go(machine.fibre[machine.current], machine.scheduler);
}

inline void begin() {
    machine.body(machine.parameters);
    wait(DONE);
    __builtin_unreachable();
}

inline void prepare(int thread) {
    char *top = machine.stacks + STACK * (thread + 1);
#if defined(__x86_64__)
    void **slot = reinterpret_cast<void **>(top);
    *--slot = nullptr; /* where a caller's address would be: keeps the alignment that a function expects */
    *--slot = reinterpret_cast<void *>(begin);
    slot -= 6;
    machine.fibre[thread].stack_pointer = slot;
#else
    getcontext(&machine.fibre[thread].context);
    machine.fibre[thread].context.uc_stack.ss_sp = top - STACK;
    machine.fibre[thread].context.uc_stack.ss_size = STACK;
    machine.fibre[thread].context.uc_link = nullptr;
    makecontext(&machine.fibre[thread].context, begin, 0);
#endif
    machine.state[thread] = RUNS;
    machine.fences[thread] = 0;
}

inline int fail(const char *reason) {
    std::snprintf(machine.error, sizeof machine.error, "block (%u, %u, %u): %s", machine.block.x, machine.block.y,
                  machine.block.z, reason);
    return 1;
}

extern "C" {
extern char __start_cuda_shared[] __attribute__((weak));
extern char __stop_cuda_shared[] __attribute__((weak));
}

inline void *dynamic_shared() {
    if (machine.shared != machine.shared_end) return machine.shared;
    fail("its launch asks for no dynamic shared memory");
    return machine.shared_end - MOST_SHARED; /* for the time until somebody looks */
}

/* Answers false where there is no memory. */
inline bool make_shared(size_t bytes) {
    constexpr size_t PAGE = 64 << 10, SPAN = (MOST_SHARED + PAGE - 1) / PAGE * PAGE;
    if (!machine.shared_end) {
        void *made = mmap(nullptr, SPAN + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (made == MAP_FAILED || mprotect(made, SPAN, PROT_READ | PROT_WRITE)) return false;
        machine.shared_end = static_cast<char *>(made) + SPAN;
    }
    machine.shared = machine.shared_end - (bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
    return true;
}

/* One warp as far as the block's next barrier, in the order of `lanes`. */
inline void run_warp(int warp, const std::vector<int> &lanes) {
    int first = warp * LANES, last = std::min(machine.count, first + LANES);
    for (;;) {
        for (int lane : lanes) {
            int thread = first + lane;
            if (thread < last && machine.state[thread] == RUNS) {
                machine.current = thread;
                machine.running = true;
                go(machine.scheduler, machine.fibre[thread]);
                machine.running = false;
            }
        }
        int waiting = 0, left = 0;
        for (int thread = first; thread < last; ++thread) {
            waiting += machine.state[thread] == AT_WARP;
            left += machine.state[thread] != DONE;
        }
        if (!waiting || waiting != left) return;
        for (int thread = first; thread < last; ++thread)
            if (machine.state[thread] == AT_WARP) machine.state[thread] = RUNS;
    }
}

/* order, of warps and lanes as of blocks: 0 forward, 1 backward, others random, drawn anew at every barrier. */
inline int run_block(unsigned order, std::mt19937 &random) {
    int count = machine.count, warps = (count + LANES - 1) / LANES;
    std::vector<int> sequence(warps), lanes(LANES);
    for (int warp = 0; warp < warps; ++warp) sequence[warp] = order == 1 ? warps - 1 - warp : warp;
    for (int lane = 0; lane < LANES; ++lane) lanes[lane] = order == 1 ? LANES - 1 - lane : lane;
    if (__start_cuda_shared) std::memset(__start_cuda_shared, 0xff, __stop_cuda_shared - __start_cuda_shared);
    std::memset(machine.shared, 0xff, machine.shared_end - machine.shared);
    for (int thread = 0; thread < count; ++thread) prepare(thread);
    for (;;) {
        if (order > 1) std::shuffle(sequence.begin(), sequence.end(), random);
        if (order > 1) std::shuffle(lanes.begin(), lanes.end(), random);
        for (int warp : sequence) {
            run_warp(warp, lanes);
            if (machine.after_warp) machine.after_warp();
        }
        int at_block = 0, at_warp = 0, done = 0;
        for (int thread = 0; thread < count; ++thread) {
            at_block += machine.state[thread] == AT_BLOCK;
            at_warp += machine.state[thread] == AT_WARP;
            done += machine.state[thread] == DONE;
        }
        if (machine.error[0]) return 1;
        if (done == count) return 0;
        if (at_warp) return fail("not all threads of a warp reach its barrier");
        if (at_block != count) return fail("not all threads of the block reach __syncthreads()");
        std::fill(machine.state, machine.state + count, RUNS);
    }
}

/* extents: grid x, y, z, block x, y, z, bytes of dynamic shared memory. */
inline int launch(void (*body)(void **), void **parameters, const unsigned *extents, unsigned order) {
    machine.error[0] = 0;
    machine.grid = {extents[0], extents[1], extents[2]};
    machine.threads = {extents[3], extents[4], extents[5]};
    machine.count = static_cast<int>(extents[3] * extents[4] * extents[5]);
    if (machine.count < 1 || machine.count > 1024) return fail("not 1 to 1024 threads");
    if (!machine.stacks) {
        void *stacks = mmap(nullptr, STACK * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED) return fail("no memory for stacks");
        machine.stacks = static_cast<char *>(stacks);
    }
    if (extents[6] > MOST_SHARED) return fail("more dynamic shared memory than any GPU has");
    if (!make_shared(extents[6])) return fail("no memory for shared memory");
    machine.body = body;
    machine.parameters = parameters;
    for (int thread = 0; thread < machine.count; ++thread) {
        unsigned x = extents[3], y = extents[4], t = static_cast<unsigned>(thread);
        machine.thread[thread] = {t % x, t / x % y, t / x / y};
    }
    std::mt19937 random(order);
    std::vector<unsigned> blocks(extents[0] * extents[1] * extents[2]);
    for (unsigned block = 0; block < blocks.size(); ++block) blocks[block] = block;
    if (order == 1) std::reverse(blocks.begin(), blocks.end());
    if (order > 1) std::shuffle(blocks.begin(), blocks.end(), random);
    blocks.resize(std::min<size_t>(blocks.size(), machine.most_blocks));
    for (unsigned block : blocks) {
        machine.block = {block % extents[0], block / extents[0] % extents[1], block / extents[0] / extents[1]};
        if (run_block(order, random)) return 1;
    }
    return 0;
}

template <class... P, size_t... I>
inline void call(void (*kernel)(P...), void **parameters, std::index_sequence<I...>) {
    kernel(*static_cast<P *>(parameters[I])...);
}
/* The kernel with its parameters given as cuLaunchKernel takes them: pointers to the values. */
template <class... P> inline void call(void (*kernel)(P...), void **parameters) {
    call(kernel, parameters, std::index_sequence_for<P...>{});
}

/* Every lane publishes a value and reads that of one lane of its warp; its own where there is none. */
template <class T> inline T exchange(T value, int lane) {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    int first = machine.current / LANES * LANES, from = first + lane;
    std::memcpy(&machine.published[machine.current], &value, sizeof(T));
    wait(AT_WARP);
    if (lane >= 0 && lane < LANES && from < machine.count) std::memcpy(&value, &machine.published[from], sizeof(T));
    wait(AT_WARP);
    return value;
}
inline int lane() { return machine.current % LANES; }

} // namespace cuda_on_cpu

#define threadIdx (cuda_on_cpu::machine.thread[cuda_on_cpu::machine.current])
#define blockIdx (cuda_on_cpu::machine.block)
#define blockDim (cuda_on_cpu::machine.threads)
#define gridDim (cuda_on_cpu::machine.grid)

inline void __threadfence() { ++cuda_on_cpu::machine.fences[cuda_on_cpu::machine.current]; }
/* Blocks count themselves with it: what all threads of the block wrote has to be behind a fence by then. */
inline unsigned atomicInc(unsigned *at, unsigned most) {
    auto &machine = cuda_on_cpu::machine;
    for (int thread = 0; thread < machine.count; ++thread)
        if (machine.fences[thread] < machine.fences[machine.current])
            cuda_on_cpu::fail("it is counted before all of its threads have fenced what they wrote");
    unsigned old = *at;
    *at = old >= most ? 0 : old + 1;
    return old;
}
inline void __syncthreads() { cuda_on_cpu::wait(cuda_on_cpu::AT_BLOCK); }
inline void __syncwarp(unsigned = ~0u) { cuda_on_cpu::wait(cuda_on_cpu::AT_WARP); }
inline unsigned __activemask() { return ~0u; }
template <class T> inline T __shfl_sync(unsigned, T value, int from, int width = 32) {
    int lane = cuda_on_cpu::lane();
    return cuda_on_cpu::exchange(value, (lane & ~(width - 1)) + (from & (width - 1)));
}
template <class T> inline T __shfl_down_sync(unsigned, T value, unsigned delta, int width = 32) {
    int lane = cuda_on_cpu::lane(), from = lane + static_cast<int>(delta);
    return cuda_on_cpu::exchange(value, (lane & (width - 1)) + static_cast<int>(delta) < width ? from : lane);
}
template <class T> inline T __shfl_xor_sync(unsigned, T value, int mask, int width = 32) {
    int lane = cuda_on_cpu::lane(), from = lane ^ mask;
    return cuda_on_cpu::exchange(value, (from & ~(width - 1)) == (lane & ~(width - 1)) ? from : lane);
}

extern "C" inline __attribute__((used)) const char *cuda_on_cpu_error() { return cuda_on_cpu::machine.error; }

/* Behind the kernels' text: makes `kernel` callable by name, with extents and parameters as its driver's launch has them. */
#define CUDA_ON_CPU_KERNEL(kernel)                                                                               \
    extern "C" int launch_##kernel(void **parameters, const unsigned *extents, unsigned order) {                 \
        return cuda_on_cpu::launch([](void **p) { cuda_on_cpu::call(&kernel, p); }, parameters, extents, order); \
    }

/* CUDA allows `__shared__ alignas(64) float a[4]`, g++ only the attribute there. */
#define alignas(n) __attribute__((aligned(n)))
#endif
