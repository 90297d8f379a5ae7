/* A lane's sums of 16 x 16 to where the first of each half of the columns belongs in shared memory, those of the lower
 * eight rows `below` behind. */
__forceinline__ __device__ void fragment_store(float* left, float* right, int below, const float* sums) {
  *(float2*)left = *(const float2*)sums;
  *(float2*)(left + below) = *(const float2*)(sums + 2);
  *(float2*)right = *(const float2*)(sums + 4);
  *(float2*)(right + below) = *(const float2*)(sums + 6);
}
