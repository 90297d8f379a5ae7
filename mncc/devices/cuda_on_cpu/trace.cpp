/* What a GPU's memory would do for kernels that run on the CPU: each access of a warp is one request for what its lanes
 * want. Of global memory that is sectors of 32 bytes; of shared memory it is passes, in each of which every bank gives one
 * word. Lanes are served together as far as 128 bytes go: all 32 lanes of 4 bytes, a half of the warp of 8, a quarter of 16.
 */
#include <algorithm>
#include <unordered_map>

#include "trace.h"

namespace cuda_on_cpu {
namespace {

constexpr uint64_t SECTOR = 32, BANKS = 32, WORD = 4;

/* Keep in step with Memory in tracing.py. */
struct Counts {
    uint64_t requests, units, least, worst;
};

struct Request {
    bool shared = false;
    uint64_t size = 0;
    uint32_t lanes = 0;
    uint64_t address[LANES];
};

struct Trace {
    Counts global{}, shared{};
    std::vector<std::pair<uint64_t, uint64_t>> buffers;
    std::unordered_map<uint64_t, Request> requests;
};
Trace trace;

void count(Counts &counts, uint64_t units, uint64_t least, uint64_t worst) {
    ++counts.requests;
    counts.units += units;
    counts.least += least;
    counts.worst = std::max(counts.worst, worst);
}

uint64_t distinct(std::vector<uint64_t> &values) {
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    return values.size();
}

/* Sectors, and as many as the bytes would fill that are asked for. */
void count_global(const Request &request) {
    std::vector<uint64_t> sectors, words;
    for (int lane = 0; lane < LANES; ++lane) {
        if (!(request.lanes >> lane & 1)) continue;
        uint64_t begin = request.address[lane], end = begin + request.size;
        for (uint64_t at = begin / SECTOR; at <= (end - 1) / SECTOR; ++at) sectors.push_back(at);
        for (uint64_t at = begin; at < end; at += 2) words.push_back(at / 2);
    }
    uint64_t units = distinct(sectors), least = (distinct(words) * 2 + SECTOR - 1) / SECTOR;
    count(trace.global, units, least, units);
}

/* Passes: in each group of lanes as many as the busiest bank has words to give. */
void count_shared(const Request &request) {
    uint64_t units = 0, groups = 0, worst = 0;
    int together = static_cast<int>(std::min<uint64_t>(LANES, BANKS * WORD / request.size));
    for (int first = 0; first < LANES; first += together) {
        std::vector<uint64_t> words;
        for (int lane = first; lane < first + together; ++lane)
            if (request.lanes >> lane & 1)
                for (uint64_t at = 0; at < request.size; at += WORD) words.push_back((request.address[lane] + at) / WORD);
        if (words.empty()) continue;
        distinct(words);
        uint64_t banks[BANKS] = {};
        for (uint64_t word : words) ++banks[word % BANKS];
        uint64_t ways = *std::max_element(banks, banks + BANKS);
        units += ways;
        worst = std::max(worst, ways);
        ++groups;
    }
    count(trace.shared, units, groups, worst);
}

/* What a warp did up to a barrier; all of its lanes have been there. */
void finish_warp() {
    for (auto &entry : trace.requests) (entry.second.shared ? count_shared : count_global)(entry.second);
    trace.requests.clear();
}

bool in_a_buffer(uint64_t address) {
    for (auto &buffer : trace.buffers)
        if (address - buffer.first < buffer.second) return true;
    return false;
}

inline void access(void *pointer, uint64_t size, void *place, uint64_t kind) {
    if (!machine.running) return;
    uint64_t address = reinterpret_cast<uint64_t>(pointer), stacks = reinterpret_cast<uint64_t>(machine.stacks);
    if (address - stacks < STACK * 1024) return;
    char *at = static_cast<char *>(pointer);
    bool shared = __start_cuda_shared && at >= __start_cuda_shared && at < __stop_cuda_shared;
    shared = shared || (at >= machine.shared && at < machine.shared_end);
    if (!shared && !in_a_buffer(address)) return;
    int lane = machine.current % LANES;
    uint64_t key = (reinterpret_cast<uint64_t>(place) * 2 + kind) ^ rounds.thread[machine.current];
    Request *request = &trace.requests[key];
    /* A lane that was here before, in a loop whose rounds nobody told: the request after that. */
    while (request->lanes >> lane & 1) request = &trace.requests[key = key * 0x9e3779b97f4a7c15u + 1];
    request->shared = shared;
    request->size = size;
    request->lanes |= 1u << lane;
    request->address[lane] = address;
}

} // namespace
} // namespace cuda_on_cpu

#define TELLS(size)                                                                                              \
    void __tsan_read##size(void *p) { cuda_on_cpu::access(p, size, __builtin_return_address(0), 0); }            \
    void __tsan_write##size(void *p) { cuda_on_cpu::access(p, size, __builtin_return_address(0), 1); }           \
    void __tsan_unaligned_read##size(void *p) { cuda_on_cpu::access(p, size, __builtin_return_address(0), 0); }  \
    void __tsan_unaligned_write##size(void *p) { cuda_on_cpu::access(p, size, __builtin_return_address(0), 1); }

extern "C" {
TELLS(1)
TELLS(2)
TELLS(4)
TELLS(8)
TELLS(16)
void __tsan_read_range(void *p, uint64_t size) { cuda_on_cpu::access(p, size, __builtin_return_address(0), 0); }
void __tsan_write_range(void *p, uint64_t size) { cuda_on_cpu::access(p, size, __builtin_return_address(0), 1); }
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_init() {}
void __tsan_vptr_read(void **) {}
void __tsan_vptr_update(void **, void *) {}

/* Counts from now on, in the buffers of global memory that are given as (address, bytes), at most `blocks` blocks a launch. */
void cuda_on_cpu_trace(const uint64_t *buffers, int count, unsigned blocks) {
    auto &trace = cuda_on_cpu::trace;
    trace.global = trace.shared = {};
    trace.buffers.clear();
    for (int number = 0; number < count; ++number) trace.buffers.emplace_back(buffers[2 * number], buffers[2 * number + 1]);
    cuda_on_cpu::machine.most_blocks = blocks;
    cuda_on_cpu::machine.after_warp = cuda_on_cpu::finish_warp;
}

/* Counts no more; what was counted: of global memory, then of shared. */
void cuda_on_cpu_traced(uint64_t *counts) {
    cuda_on_cpu::machine.most_blocks = ~0u;
    cuda_on_cpu::machine.after_warp = nullptr;
    cuda_on_cpu::trace.requests.clear();
    std::memcpy(counts, &cuda_on_cpu::trace.global, sizeof(cuda_on_cpu::Counts));
    std::memcpy(counts + 4, &cuda_on_cpu::trace.shared, sizeof(cuda_on_cpu::Counts));
}
}
