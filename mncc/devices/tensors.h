/* Tensors of a network, as its library's header, which must come before this one, describes them. */
#ifndef MNCC_TENSORS_H
#define MNCC_TENSORS_H

/* Tensor `index` of an array whose elements state their size. */
static inline const mncc_tensor *tensor_at(const mncc_tensor *all, int32_t index) {
  return (const mncc_tensor *)((const unsigned char *)all + (size_t)index * all->struct_size);
}

static inline size_t tensor_bytes(const mncc_tensor *tensor) {
  size_t bytes = sizeof(float);
  for (int32_t i = 0; i < tensor->rank; i++) bytes *= (size_t)tensor->shape[i];
  return bytes;
}

#endif
