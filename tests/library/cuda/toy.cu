/* The kernels of the toy network: see tests/library/toy.py. Parameters stand in no telling order. */
#define PIXELS 60
#define CLASSES 7
#define LINE 16 /* floats from one image's classes to the next one's */

extern "C" __global__ void toy_scale(float *out, const float *scale, const float *in) {
  const unsigned i = blockIdx.x * PIXELS + threadIdx.x;
  if (threadIdx.x < PIXELS) out[i] = in[i] * scale[threadIdx.x % 3];
}

/* A block is a class of an image: its threads' sums meet in shared memory. */
extern "C" __global__ void toy_dense(const float *in, float *out, const float *weights) {
  extern __shared__ float sums[];
  float sum = 0;
  for (unsigned i = threadIdx.x; i < PIXELS; i += blockDim.x)
    sum += in[blockIdx.y * PIXELS + i] * weights[blockIdx.x * PIXELS + i];
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (unsigned i = 1; i < blockDim.x; ++i) sum += sums[i];
  out[blockIdx.y * LINE + blockIdx.x] = sum;
}

extern "C" __global__ void toy_mix(const float *b, float *out, const float *a) {
  const unsigned image = blockIdx.x, k = threadIdx.x;
  if (k < CLASSES) out[image * CLASSES + k] = expf(a[image * LINE + k] * 0.1f) + b[image * CLASSES + k];
}
