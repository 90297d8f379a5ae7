// Compiled for sm_80 and disassembled, this is dots.sass beside it.
extern "C" __global__ void dots(const float* __restrict__ values, const float* __restrict__ weights,
                                float* __restrict__ out, int depth) {
  __shared__ alignas(16) float shared[1024];
  for (int i = 0; i < 8; ++i) shared[threadIdx.x + i * 128] = values[threadIdx.x + i * 128];
  __syncthreads();
  float sum[4] = {0, 0, 0, 0};
#pragma unroll 1
  for (int k = 0; k < depth; ++k) {
    float4 w = *(const float4*)(weights + k * 512 + threadIdx.x * 4);
    float4 v = *(const float4*)(shared + k * 4);
    sum[0] += v.x * w.x; sum[1] += v.y * w.y; sum[2] += v.z * w.z; sum[3] += v.w * w.w;
  }
  out[threadIdx.x] = sum[0] + sum[1] + sum[2] + sum[3];
}
