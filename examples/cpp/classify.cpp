// classify PICTURE.ppm [LABELS.txt]: the five best classes of a picture, found in three ways: on two threads of the
// network's own pool, on a pool of this program, and by two threads that each run the network at once. All three give
// the same bits.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "mobilenet_v2.h"
#include "picture.h"
#include "thread_pool.h"

namespace {

constexpr int kThreads = 2;
constexpr std::int32_t kShape[] = MOBILENET_V2_INPUT_SHAPE; // batch, height, width, channels

// Memory for the tensors inside the network. One for each run that may happen at the same time.
class Workspace {
public:
  explicit Workspace(std::int32_t threads)
      : bytes_(mobilenet_v2_model()->workspace_bytes(threads)),
        memory_(std::aligned_alloc(MOBILENET_V2_WORKSPACE_ALIGN, bytes_), std::free) {
    if (!memory_) throw std::bad_alloc();
  }
  void *data() const { return memory_.get(); }
  std::size_t size() const { return bytes_; }

private:
  std::size_t bytes_;
  std::unique_ptr<void, void (*)(void *)> memory_;
};

// Pixels to what the network was trained on: (value / 255 - mean) / std, channel by channel.
std::vector<float> normalized(const Picture &picture) {
  constexpr float mean[] = MOBILENET_V2_INPUT_MEAN, deviation[] = MOBILENET_V2_INPUT_STD;
  if (picture.height != kShape[1] || picture.width != kShape[2])
    throw std::runtime_error("the picture is " + std::to_string(picture.width) + "x" + std::to_string(picture.height) +
                             ", the network takes " + std::to_string(kShape[2]) + "x" + std::to_string(kShape[1]));
  std::vector<float> input(MOBILENET_V2_INPUT_ELEMS);
  for (std::size_t i = 0; i < input.size(); i++) {
    const std::size_t channel = i % 3;
    input[i] = (static_cast<float>(picture.rgb[i]) / 255.0f - mean[channel]) / deviation[channel];
  }
  return input;
}

// One run, with the text of what went wrong.
std::vector<float> run(const std::vector<float> &input, const mncc_exec &how) {
  const Workspace workspace(how.threads);
  std::vector<float> output(MOBILENET_V2_OUTPUT_ELEMS);
  char message[256] = "";
  mncc_exec exec = how;
  exec.message = message;
  exec.message_bytes = sizeof message;
  const mncc_status status = mobilenet_v2_run(input.data(), output.data(), workspace.data(), workspace.size(), &exec);
  if (status != MNCC_OK)
    throw std::runtime_error(std::string(mobilenet_v2_model()->status_string(status)) + ": " + message);
  return output;
}

std::vector<float> on_its_pool(const std::vector<float> &input) {
  const std::unique_ptr<mncc_exec, void (*)(mncc_exec *)> pool(mobilenet_v2_pool_create(kThreads),
                                                               mobilenet_v2_pool_destroy);
  if (!pool) throw std::runtime_error("the network's pool could not be started");
  run(input, *pool); // the first run also brings the weights into memory
  const auto start = std::chrono::steady_clock::now();
  std::vector<float> output = run(input, *pool);
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  std::printf("%.2f ms on %d threads\n", time.count(), kThreads);
  return output;
}

std::vector<float> on_our_pool(const std::vector<float> &input) {
  ThreadPool pool(kThreads);
  mncc_exec exec = {};
  exec.struct_size = sizeof exec;
  exec.threads = kThreads;
  exec.parallel_for = ThreadPool::parallel_for;
  exec.pool = &pool;
  return run(input, exec);
}

// Two runs at once need nothing but a workspace each.
std::vector<float> twice_at_once(const std::vector<float> &input) {
  mncc_exec serial = {};
  serial.struct_size = sizeof serial;
  std::vector<float> outputs[2];
  std::exception_ptr failures[2];
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; i++)
    threads.emplace_back([&, i] {
      try {
        outputs[i] = run(input, serial);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    });
  for (std::thread &thread : threads) thread.join();
  for (const std::exception_ptr &failure : failures)
    if (failure) std::rethrow_exception(failure);
  if (outputs[0] != outputs[1]) throw std::runtime_error("two runs at once gave different numbers");
  return outputs[0];
}

void print_best(std::vector<float> scores, const std::vector<std::string> &labels) {
  if (std::strcmp(MOBILENET_V2_OUTPUT_KIND, "logits") == 0) { // softmax, unless the network ends with one
    const float largest = *std::max_element(scores.begin(), scores.end());
    for (float &score : scores) score = std::exp(score - largest);
    const float sum = std::accumulate(scores.begin(), scores.end(), 0.0f);
    for (float &score : scores) score /= sum;
  }
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::size_t best = std::min<std::size_t>(5, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(best), order.end(),
                    [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  for (std::size_t i = 0; i < best; i++) {
    const std::size_t k = order[i];
    const std::string label = k < labels.size() ? labels[k] : "class " + std::to_string(k);
    std::printf("%6.3f  %s\n", static_cast<double>(scores[k]), label.c_str());
  }
}

} // namespace

int main(int count, char **arguments) try {
  if (count < 2 || count > 3) {
    std::fprintf(stderr, "usage: %s PICTURE.ppm [LABELS.txt]\n", arguments[0]);
    return 2;
  }
  std::vector<std::string> labels;
  if (count == 3) {
    std::ifstream file(arguments[2]);
    for (std::string line; std::getline(file, line);) labels.push_back(line);
  }
  const std::vector<float> input = normalized(read_ppm(arguments[1]));
  const std::vector<float> scores = on_its_pool(input);
  if (on_our_pool(input) != scores || twice_at_once(input) != scores)
    throw std::runtime_error("the number of threads changed the result");
  print_best(scores, labels);
  return 0;
} catch (const std::exception &error) {
  std::fprintf(stderr, "classify: %s\n", error.what());
  return 1;
}
