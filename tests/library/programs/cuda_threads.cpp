// Several handles on several devices and threads at once, and several threads on one handle.
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "check.h"
#include "standin.h"
#include "toy.h"

namespace {

struct Outputs {
  std::vector<float> hidden = std::vector<float>(TOY_HIDDEN_ELEMS), scores = std::vector<float>(TOY_SCORES_ELEMS);
};

Outputs run(void *device, float first) {
  std::vector<float> image(TOY_IMAGE_ELEMS), bias(TOY_BIAS_ELEMS, 1.0f);
  for (unsigned i = 0; i < TOY_IMAGE_ELEMS; ++i) image[i] = first + static_cast<float>(i) / 64;
  Outputs out;
  char message[200] = "";
  mncc_exec exec = {};
  exec.struct_size = sizeof exec;
  exec.device = device;
  exec.message = message;
  exec.message_bytes = sizeof message;
  const mncc_status status =
      toy_run(image.data(), bias.data(), out.hidden.data(), out.scores.data(), nullptr, 0, &exec);
  if (status != MNCC_OK) std::fprintf(stderr, "%s\n", message);
  CHECK(status == MNCC_OK);
  return out;
}

}  // namespace

int main() {
  std::vector<Outputs> expected;
  void *alone = toy_device_open(0, nullptr, 0);
  CHECK(alone != nullptr);
  for (int t = 0; t < 4; ++t) expected.push_back(run(alone, static_cast<float>(t)));
  CHECK(expected[0].scores != expected[1].scores);

  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      void *own = toy_device_open(t % 2, nullptr, 0);
      CHECK(own != nullptr);
      for (int i = 0; i < 8; ++i) {
        const Outputs out = run(i % 2 ? own : alone, static_cast<float>(t));
        CHECK(out.hidden == expected[static_cast<size_t>(t)].hidden);
        CHECK(out.scores == expected[static_cast<size_t>(t)].scores);
      }
      mncc_exec exec = {};
      exec.struct_size = sizeof exec;
      exec.device = own;
      void *memory = new_workspace(TOY_SELFTEST_BYTES);
      CHECK(toy_model()->selftest(memory, TOY_SELFTEST_BYTES, &exec) == MNCC_OK);
      std::free(memory);
      toy_device_close(own);
    });
  for (std::thread &thread : threads) thread.join();
  toy_device_close(alone);
  const standin_state *s = standin();
  CHECK(s->contexts + s->modules + s->allocations + s->streams + s->events + s->graphs + s->replays == 0);
  CHECK(s->wrong == 0 && s->captures == 5);
  std::puts("ok");
}
