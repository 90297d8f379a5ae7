// The entry points of the stand-in; see standin.h. It is stricter than the driver where that helps: work is done when
// somebody waits for it and no earlier, memory begins as NaN and ends at a page that cannot be touched, handles are
// checked.
#include "machine.h"

extern "C" {

standin_state *standin(void) {
  machine.state.depth = static_cast<int64_t>(contexts.size());
  return &machine.state;
}

CUresult cuInit(unsigned int) {
  Lock lock(machine.mutex);
  if (fails(__func__)) return static_cast<CUresult>(machine.state.fail_with);
  if (machine.state.devices == 0) return CUDA_ERROR_NO_DEVICE;
  machine.initialized = true;
  return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version) {
  Lock lock(machine.mutex);
  if (fails(__func__)) return static_cast<CUresult>(machine.state.fail_with);
  *version = machine.state.driver_version;
  return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult result, const char **name) {
  static const std::map<int, const char *> names = {{1, "CUDA_ERROR_INVALID_VALUE"},
                                                    {2, "CUDA_ERROR_OUT_OF_MEMORY"},
                                                    {100, "CUDA_ERROR_NO_DEVICE"},
                                                    {101, "CUDA_ERROR_INVALID_DEVICE"},
                                                    {200, "CUDA_ERROR_INVALID_IMAGE"},
                                                    {201, "CUDA_ERROR_INVALID_CONTEXT"},
                                                    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
                                                    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
                                                    {500, "CUDA_ERROR_NOT_FOUND"},
                                                    {719, "CUDA_ERROR_LAUNCH_FAILED"}};
  const auto found = names.find(result);
  *name = found == names.end() ? nullptr : found->second;
  return found == names.end() ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult result, const char **text) {
  const CUresult answer = cuGetErrorName(result, text);
  if (answer == CUDA_SUCCESS) *text = "as the stand-in says";
  return answer;
}

CUresult cuDeviceGetCount(int *count) {
  ASK;
  *count = machine.state.devices;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  ASK;
  if (ordinal < 0 || ordinal >= machine.state.devices) return wrong(__func__, "ordinal", CUDA_ERROR_INVALID_DEVICE);
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int bytes, CUdevice device) {
  ASK;
  snprintf(name, static_cast<size_t>(bytes), "stand-in %d", device);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice) {
  ASK;
  if (attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) *value = machine.state.compute_capability / 10;
  if (attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR) *value = machine.state.compute_capability % 10;
  if (attribute == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN) *value = machine.state.shared_bytes;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  ASK;
  *context = &machine.primary[device];
  (*context)->retained++;
  machine.state.contexts++;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  GIVE_BACK;
  if (machine.primary[device].retained == 0) return wrong(__func__, "not retained", CUDA_ERROR_INVALID_CONTEXT);
  finish_all();
  machine.primary[device].retained--;
  machine.state.contexts--;
  return answer;
}

CUresult cuCtxPushCurrent_v2(CUcontext context) {
  ASK;
  if (context == nullptr || context->retained == 0) return wrong(__func__, "no context", CUDA_ERROR_INVALID_CONTEXT);
  contexts.push_back(context);
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext *context) {
  GIVE_BACK;
  if (contexts.empty()) return wrong(__func__, "no context", CUDA_ERROR_INVALID_CONTEXT);
  *context = contexts.back();
  contexts.pop_back();
  return answer;
}

CUresult cuCtxSynchronize(void) {
  ASK_IN_CONTEXT;
  finish_all();
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  ASK_IN_CONTEXT;
  const CUresult found = find_code(static_cast<const unsigned char *>(image));
  if (found != CUDA_SUCCESS) return found;
  *module = born<CUmod_st>(machine.state.modules);
  return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module) {
  GIVE_BACK;
  KNOWN(module);
  finish_all();
  for (auto &function : module->functions) delete function.second;
  dies(module, machine.state.modules);
  return answer;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  ASK_IN_CONTEXT;
  KNOWN(module);
  for (int i = 0; i < standin_kernel_count; ++i) {
    if (strcmp(standin_kernels[i].symbol, name) != 0) continue;
    CUfunc_st *&made = module->functions[name];
    if (made == nullptr) made = new CUfunc_st;
    made->kernel = &standin_kernels[i];
    *function = made;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_NOT_FOUND;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  ASK_IN_CONTEXT;
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value > machine.state.shared_bytes)
    return wrong(__func__, "more shared memory than the device has", CUDA_ERROR_INVALID_VALUE);
  function->shared_bytes = value;
  return CUDA_SUCCESS;
}

// The block ends at a page that cannot be touched, but for what 16-byte alignment leaves; so does what lies before it.
CUresult cuMemAlloc_v2(CUdeviceptr *memory, size_t bytes) {
  ASK_IN_CONTEXT;
  if (bytes == 0) return wrong(__func__, "no bytes", CUDA_ERROR_INVALID_VALUE);
  if (bytes > machine.state.memory - static_cast<size_t>(machine.state.bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t used = (bytes + page - 1) / page * page, all = used + 2 * page;
  void *mapped = mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  Block block{static_cast<unsigned char *>(mapped), nullptr, all, bytes, contexts.back()->device};
  mprotect(block.mapped + page, used, PROT_READ | PROT_WRITE);
  memset(block.mapped + page, 0xff, used);
  block.start = block.mapped + page + (used - bytes) / 16 * 16;
  *memory = reinterpret_cast<uintptr_t>(block.start);
  machine.blocks[*memory] = block;
  machine.state.allocations++;
  machine.state.bytes += static_cast<int64_t>(bytes);
  return CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr memory) {
  GIVE_BACK;
  const auto found = machine.blocks.find(memory);
  if (found == machine.blocks.end()) return wrong(__func__, "not allocated", CUDA_ERROR_INVALID_VALUE);
  finish_all();
  machine.state.allocations--;
  machine.state.bytes -= static_cast<int64_t>(found->second.bytes);
  munmap(found->second.mapped, found->second.mapped_bytes);
  machine.blocks.erase(found);
  return answer;
}

CUresult cuMemGetInfo_v2(size_t *available, size_t *all) {
  ASK_IN_CONTEXT;
  *all = machine.state.memory;
  *available = machine.state.memory - static_cast<size_t>(machine.state.bytes);
  return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  ASK_IN_CONTEXT;
  if (stream_of(stream)->capture != nullptr) return wrong(__func__, "while capturing", CAPTURE_UNSUPPORTED);
  if (block_of(to, bytes) == nullptr) return wrong(__func__, "not into one block", CUDA_ERROR_INVALID_VALUE);
  machine.state.uploads++;
  machine.state.upload_bytes += static_cast<int64_t>(bytes);
  enqueue(stream, [=] { memcpy(reinterpret_cast<void *>(to), from, bytes); });
  return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  ASK_IN_CONTEXT;
  if (stream_of(stream)->capture != nullptr) return wrong(__func__, "while capturing", CAPTURE_UNSUPPORTED);
  if (block_of(from, bytes) == nullptr) return wrong(__func__, "not from one block", CUDA_ERROR_INVALID_VALUE);
  machine.state.downloads++;
  machine.state.download_bytes += static_cast<int64_t>(bytes);
  enqueue(stream, [=] { memcpy(to, reinterpret_cast<void *>(from), bytes); });
  return CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr address) {
  ASK;
  const Block *block = block_of(address, 0);
  if (block == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (attribute == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL) *static_cast<int *>(value) = block->device;
  if (attribute == CU_POINTER_ATTRIBUTE_IS_MANAGED) *static_cast<unsigned *>(value) = 0;
  return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream *stream, unsigned int) {
  ASK_IN_CONTEXT;
  *stream = born<CUstream_st>(machine.state.streams);
  (*stream)->context = contexts.back();
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream stream) {
  GIVE_BACK;
  KNOWN(stream);
  if (stream->capture != nullptr) wrong(__func__, "while capturing", CAPTURE_UNSUPPORTED);
  finish_all();
  dies(stream, machine.state.streams);
  return answer;
}

CUresult cuStreamSynchronize(CUstream stream) {
  ASK_IN_CONTEXT;
  if (stream != nullptr) KNOWN(stream);
  if (stream_of(stream)->capture != nullptr) return wrong(__func__, "while capturing", CAPTURE_UNSUPPORTED);
  finish_stream(stream);
  return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx(CUstream stream, CUcontext *context) {
  ASK_IN_CONTEXT;
  if (stream != nullptr) KNOWN(stream);
  *context = stream == nullptr ? contexts.back() : stream->context;
  return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode) {
  ASK_IN_CONTEXT;
  KNOWN(stream);
  if (stream->capture != nullptr) return wrong(__func__, "while capturing", CAPTURE_UNSUPPORTED);
  stream->capture = born<CUgraph_st>(machine.state.graphs);
  machine.state.captures++;
  return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  GIVE_BACK;
  KNOWN(stream);
  *graph = stream->capture;
  stream->capture = nullptr;
  return answer;
}

CUresult cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
                                   const CUgraphNode **last, size_t *count) {
  ASK_IN_CONTEXT;
  KNOWN(stream);
  *graph = stream->capture;
  *status = *graph == nullptr ? CU_STREAM_CAPTURE_STATUS_NONE : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  if (*graph == nullptr) return CUDA_SUCCESS;
  *id = 1;
  *count = (*graph)->nodes.empty() ? 0 : 1;
  *last = *count == 0 ? nullptr : &(*graph)->nodes.back();
  return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned int) {
  ASK_IN_CONTEXT;
  *event = born<CUevent_st>(machine.state.events);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event) {
  GIVE_BACK;
  KNOWN(event);
  finish_all();
  dies(event, machine.state.events);
  return answer;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  ASK_IN_CONTEXT;
  KNOWN(event);
  event->stream = stream;
  event->recorded = false;
  enqueue(stream, [=] { event->recorded = true; });
  return CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent event) {
  ASK_IN_CONTEXT;
  KNOWN(event);
  finish_stream(event->stream);
  return CUDA_SUCCESS;
}

// Every kernel takes a thousandth of a millisecond.
CUresult cuEventElapsedTime(float *milliseconds, CUevent begin, CUevent end) {
  ASK_IN_CONTEXT;
  KNOWN(begin);
  KNOWN(end);
  if (!begin->recorded || !end->recorded) return wrong(__func__, "not recorded", INVALID_HANDLE);
  *milliseconds = 0.001f;
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
                        unsigned int by, unsigned int bz, unsigned int shared, CUstream stream, void **parameters,
                        void **) {
  ASK_IN_CONTEXT;
  if (stream != nullptr) KNOWN(stream);
  const Launch launch = make_launch(function, {gx, gy, gz, bx, by, bz, shared}, parameters);
  const CUresult checked = check_launch(__func__, launch);
  if (checked != CUDA_SUCCESS) return checked;
  launch_on(stream, launch);
  return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *replay, CUgraph graph, unsigned long long) {
  ASK_IN_CONTEXT;
  KNOWN(graph);
  *replay = born<CUgraphExec_st>(machine.state.replays);
  (*replay)->nodes = graph->nodes;
  for (CUgraphNode node : graph->nodes) (*replay)->launches[node] = node->launch;
  return CUDA_SUCCESS;
}

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec replay, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v2 *p) {
  ASK_IN_CONTEXT;
  KNOWN(replay);
  const auto found = replay->launches.find(node);
  if (found == replay->launches.end()) return wrong(__func__, "a node of another graph", CUDA_ERROR_INVALID_VALUE);
  const Launch launch = make_launch(
      p->func, {p->gridDimX, p->gridDimY, p->gridDimZ, p->blockDimX, p->blockDimY, p->blockDimZ, p->sharedMemBytes},
      p->kernelParams);
  const CUresult checked = check_launch(__func__, launch);
  if (checked != CUDA_SUCCESS) return checked;
  found->second = launch;
  machine.state.node_updates++;
  return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec replay, CUstream stream) {
  ASK_IN_CONTEXT;
  KNOWN(replay);
  if (stream != nullptr) KNOWN(stream);
  std::vector<Launch> launches;
  for (CUgraphNode node : replay->nodes) launches.push_back(replay->launches[node]);
  if (CUgraph graph = stream_of(stream)->capture) {  // becomes part of the other graph, as it is now
    for (const Launch &launch : launches) graph->nodes.push_back(new CUgraphNode_st{launch});
    return CUDA_SUCCESS;
  }
  machine.state.graph_launches++;
  const auto run = [=] {
    for (const Launch &launch : launches) run_launch(launch, stream, true);
  };
  enqueue(stream, run, replay);
  return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec replay) {
  GIVE_BACK;
  KNOWN(replay);
  dies(replay, machine.state.replays);
  return answer;
}

CUresult cuGraphDestroy(CUgraph graph) {
  GIVE_BACK;
  KNOWN(graph);
  for (CUgraphNode node : graph->nodes) delete node;
  dies(graph, machine.state.graphs);
  return answer;
}

// What only test programs call: a context beside the primary one, as another library may make it.
CUresult cuCtxCreate_v2(CUcontext *context, unsigned int, CUdevice device) {
  ASK;
  *context = born<CUctx_st>(machine.state.contexts);
  (*context)->device = device;
  (*context)->retained = 1;
  contexts.push_back(*context);
  return CUDA_SUCCESS;
}

CUresult cuCtxDestroy_v2(CUcontext context) {
  ASK;
  KNOWN(context);
  if (!contexts.empty() && contexts.back() == context) contexts.pop_back();
  dies(context, machine.state.contexts);
  return CUDA_SUCCESS;
}

// A function of the program between kernels: an engine whose kernels the stand-in does not have computes in it.
CUresult cuLaunchHostFunc(CUstream stream, void (*function)(void *), void *data) {
  ASK_IN_CONTEXT;
  if (stream != nullptr) KNOWN(stream);
  launch_on(stream, Launch{nullptr, {}, {}, [=] { function(data); }});
  return CUDA_SUCCESS;
}

}  // extern "C"
