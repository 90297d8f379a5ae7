// What the stand-in is made of behind its entry points: handles, memory, work that waits, kernels. Included once.
#ifndef MNCC_STANDIN_MACHINE_H
#define MNCC_STANDIN_MACHINE_H
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "cuda_driver.h"
#include "kernels.h"
#include "standin.h"

// Handles of the driver's interface, and what is behind them.
struct CUctx_st {
  int device = 0, retained = 0;
};
struct CUmod_st {
  std::map<std::string, CUfunc_st *> functions;
};
struct CUfunc_st {
  const StandinKernel *kernel = nullptr;
  int shared_bytes = 48 * 1024;
};
struct Launch {
  CUfunction function;
  unsigned extents[7];
  std::vector<CUdeviceptr> parameters;
  std::function<void()> host = nullptr; /* in the place of a kernel: a call of the program's own */
};
struct CUgraphNode_st {
  Launch launch;
};
struct CUgraph_st {
  std::vector<CUgraphNode> nodes;
};
struct CUgraphExec_st {
  std::vector<CUgraphNode> nodes;
  std::map<CUgraphNode, Launch> launches;
};
struct CUstream_st {
  CUcontext context = nullptr;
  CUgraph capture = nullptr;
};
struct CUevent_st {
  bool recorded = false;
  CUstream stream = nullptr;
};

namespace {

enum { NOT_INITIALIZED = 3, INVALID_HANDLE = 400, CAPTURE_UNSUPPORTED = 900 };

struct Block {
  unsigned char *mapped, *start;
  size_t mapped_bytes, bytes;
  int device;
};

struct Work {
  CUstream stream;
  CUgraphExec replay;
  std::function<void()> run;
};

struct Machine {
  std::recursive_mutex mutex;
  standin_state state{};
  bool initialized = false;
  CUctx_st primary[STANDIN_DEVICES];
  CUstream_st default_stream;
  std::set<const void *> live;  // every handle there is
  std::map<CUdeviceptr, Block> blocks;
  std::list<Work> work;  // what was enqueued and nobody has waited for yet, in the order it came
  Machine() {
    state.devices = 2;
    state.driver_version = 13000;
    state.compute_capability = 80;
    state.shared_bytes = 163 * 1024;
    state.memory = size_t{1} << 30;
    for (int i = 0; i < STANDIN_DEVICES; ++i) primary[i].device = i;
  }
};

Machine machine;
thread_local std::vector<CUcontext> contexts;
using Lock = std::lock_guard<std::recursive_mutex>;

CUresult wrong(const char *function, const char *why, int result) {
  if (machine.state.wrong++ == 0)
    snprintf(machine.state.first_wrong, sizeof machine.state.first_wrong, "%s: %s", function, why);
  return static_cast<CUresult>(result);
}

// Counts a call; true where it is the one that is to fail.
bool fails(const char *function) {
  machine.state.calls++;
  if (machine.state.fail_at == 0 || --machine.state.fail_at > 0) return false;
  snprintf(machine.state.failed, sizeof machine.state.failed, "%s", function);
  return true;
}

// A call that asks for something: one that is made to fail does nothing.
#define ASK                                                                            \
  Lock lock(machine.mutex);                                                            \
  if (fails(__func__)) return static_cast<CUresult>(machine.state.fail_with);          \
  if (!machine.initialized) return wrong(__func__, "before cuInit", NOT_INITIALIZED)
#define ASK_IN_CONTEXT \
  ASK;                 \
  if (contexts.empty()) return wrong(__func__, "no context", CUDA_ERROR_INVALID_CONTEXT)
// A call that gives something back: it does so even where it reports another's failure, as the driver does.
#define GIVE_BACK                                  \
  Lock lock(machine.mutex);                        \
  const CUresult answer = fails(__func__) ? static_cast<CUresult>(machine.state.fail_with) : CUDA_SUCCESS
#define KNOWN(handle) \
  if (machine.live.count(handle) == 0) return wrong(__func__, "no such handle", INVALID_HANDLE)

template <class T>
T *born(int64_t &count) {
  T *made = new T;
  machine.live.insert(made);
  ++count;
  return made;
}

template <class T>
void dies(T *handle, int64_t &count) {
  machine.live.erase(handle);
  --count;
  delete handle;
}

void enqueue(CUstream stream, std::function<void()> run, CUgraphExec replay = nullptr) {
  machine.work.push_back({stream, replay, std::move(run)});
}

// Does what stands at `last`, and before it what it has to come after: its stream's earlier work, and earlier launches of
// its graph. Nothing else: what is on other streams may come later, as on a GPU.
void finish(std::list<Work>::iterator last) {
  for (auto it = machine.work.begin(); it != last;) {
    const bool before = it->stream == last->stream || (it->replay != nullptr && it->replay == last->replay);
    if (before) finish(it);
    it = before ? machine.work.begin() : std::next(it);
  }
  const std::function<void()> run = std::move(last->run);
  machine.work.erase(last);
  run();
}

void finish_stream(CUstream stream) {
  for (auto it = machine.work.begin(); it != machine.work.end();) {
    const bool mine = it->stream == stream;
    if (mine) finish(it);
    it = mine ? machine.work.begin() : std::next(it);
  }
}

void finish_all() {
  while (!machine.work.empty()) finish(machine.work.begin());
}

const Block *block_of(CUdeviceptr address, size_t bytes) {
  auto above = machine.blocks.upper_bound(address);
  if (above == machine.blocks.begin()) return nullptr;
  const Block &block = std::prev(above)->second;
  const size_t inside = address - reinterpret_cast<uintptr_t>(block.start);
  return inside <= block.bytes && bytes <= block.bytes - inside ? &block : nullptr;
}

CUstream_st *stream_of(CUstream stream) { return stream == nullptr ? &machine.default_stream : stream; }

void run_launch(const Launch &launch, CUstream stream, bool from_graph) {
  if (launch.host != nullptr) return launch.host();
  machine.state.kernels++;
  if (machine.state.launches < STANDIN_LOG) {
    standin_launch &entry = machine.state.log[machine.state.launches];
    snprintf(entry.symbol, sizeof entry.symbol, "%s", launch.function->kernel->symbol);
    memcpy(entry.grid, launch.extents, sizeof entry.grid);
    memcpy(entry.block, launch.extents + 3, sizeof entry.block);
    entry.shared_bytes = launch.extents[6];
    entry.stream = stream;
    entry.from_graph = from_graph;
  }
  machine.state.launches++;
  std::vector<CUdeviceptr> values = launch.parameters;
  std::vector<void *> pointers;
  for (CUdeviceptr &value : values) pointers.push_back(&value);
  if (launch.function->kernel->run(pointers.data(), launch.extents, 0) != 0)
    wrong(launch.function->kernel->symbol, standin_kernel_error(), CUDA_ERROR_LAUNCH_FAILED);
}

// What the driver refuses in a launch.
CUresult check_launch(const char *function, const Launch &launch) {
  const unsigned *e = launch.extents;
  for (int i = 0; i < 6; ++i)
    if (e[i] == 0) return wrong(function, "an empty grid or block", CUDA_ERROR_INVALID_VALUE);
  if (e[1] > 65535 || e[2] > 65535 || e[3] > 1024 || e[4] > 1024 || e[5] > 64 || e[3] * e[4] * e[5] > 1024)
    return wrong(function, "a grid or block past the limits", CUDA_ERROR_INVALID_VALUE);
  if (static_cast<int>(e[6]) > launch.function->shared_bytes)
    return wrong(function, "more shared memory than the function has", CUDA_ERROR_INVALID_VALUE);
  return CUDA_SUCCESS;
}

// Work for a stream, or for the graph that it captures.
void launch_on(CUstream stream, const Launch &launch) {
  if (CUgraph graph = stream_of(stream)->capture) {
    graph->nodes.push_back(new CUgraphNode_st{launch});
  } else {
    enqueue(stream, [=] { run_launch(launch, stream, false); });
  }
}

Launch make_launch(CUfunction function, const unsigned (&extents)[7], void **parameters) {
  Launch launch{function, {}, {}};
  memcpy(launch.extents, extents, sizeof extents);
  for (int i = 0; i < function->kernel->parameters; ++i)
    launch.parameters.push_back(*static_cast<CUdeviceptr *>(parameters[i]));
  return launch;
}

struct __attribute__((packed)) FatbinHeader {
  uint32_t magic;
  uint16_t version, header_bytes;
  uint64_t bytes;
};
struct __attribute__((packed)) FatbinEntry {
  uint16_t kind, unknown;  // 1: PTX, 2: machine code
  uint32_t header_bytes;
  uint64_t bytes;
  uint32_t compressed_bytes, unknown_too;
  uint16_t minor, major;
  uint32_t architecture;
};

// Whether a device of the machine's compute capability finds code in a fatbin: machine code of its own major version, of
// its own minor or an older one, else PTX that is no newer.
CUresult find_code(const unsigned char *image) {
  FatbinHeader header;
  memcpy(&header, image, sizeof header);
  if (header.magic != 0xBA55ED50u) return CUDA_ERROR_INVALID_IMAGE;
  const uint32_t mine = static_cast<uint32_t>(machine.state.compute_capability);
  bool code = false, ptx = false;
  for (uint64_t at = header.header_bytes; at < header.header_bytes + header.bytes;) {
    FatbinEntry entry;
    memcpy(&entry, image + at, sizeof entry);
    if (entry.kind == 2 && entry.architecture / 10 == mine / 10 && entry.architecture <= mine) code = true;
    if (entry.kind == 1 && entry.architecture <= mine) ptx = true;
    at += entry.header_bytes + entry.bytes;
  }
  // The toolkit of the stand-in is CUDA 13's.
  if (code) return machine.state.driver_version >= 13000 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
  if (ptx) return machine.state.driver_version >= 13000 ? CUDA_SUCCESS : CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  return CUDA_ERROR_NO_BINARY_FOR_GPU;
}

}  // namespace
#endif
