// Threads: every way to run tasks gives the same bits; runs at once; callers that meet in one pool; one network's pool
// under another; a pool that sleeps when idle.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "other.h"
#include "toy.h"

namespace {

using Task = void (*)(void *, int32_t);

void forward(void *, Task task, void *arg, int32_t count) {
  for (int32_t i = 0; i < count; i++) task(arg, i);
}
void backward(void *, Task task, void *arg, int32_t count) {
  for (int32_t i = count; i-- > 0;) task(arg, i);
}
void at_once(void *most, Task task, void *arg, int32_t count) {
  CHECK(count >= 1 && count <= *static_cast<int32_t *>(most));
  std::vector<std::thread> threads;
  for (int32_t i = 0; i < count; i++) threads.emplace_back(task, arg, i);
  for (std::thread &thread : threads) thread.join();
}

struct Buffers {
  std::vector<float> image, bias, hidden, scores;
  std::unique_ptr<void, void (*)(void *)> workspace{nullptr, std::free};
  size_t bytes = 0;

  explicit Buffers(unsigned seed, int32_t threads)
      : image(TOY_IMAGE_ELEMS), bias(TOY_BIAS_ELEMS), hidden(TOY_HIDDEN_ELEMS), scores(TOY_SCORES_ELEMS) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (float &x : image) x = normal(random);
    for (float &x : bias) x = normal(random);
    bytes = toy_model()->workspace_bytes(threads);
    workspace.reset(new_workspace(bytes));
  }
  mncc_status run(const mncc_exec *exec) {
    return toy_run(image.data(), bias.data(), hidden.data(), scores.data(), workspace.get(), bytes, exec);
  }
};

mncc_exec exec_with(int32_t threads, void (*parallel_for)(void *, Task, void *, int32_t), void *pool) {
  mncc_exec exec = mncc_exec();
  exec.struct_size = sizeof exec;
  exec.threads = threads;
  exec.parallel_for = parallel_for;
  exec.pool = pool;
  return exec;
}

void same_bits() {
  Buffers expected(1, 1);
  CHECK(expected.run(nullptr) == MNCC_OK);
  for (int32_t threads : {1, 2, 3, 7}) {
    mncc_exec *pool = toy_pool_create(threads);
    const mncc_exec ways[] = {*pool, exec_with(threads, forward, nullptr), exec_with(threads, backward, nullptr),
                              exec_with(threads, at_once, &threads)};
    for (const mncc_exec &way : ways) {
      Buffers got(1, threads);
      CHECK(got.run(&way) == MNCC_OK);
      CHECK(std::memcmp(got.scores.data(), expected.scores.data(), TOY_SCORES_ELEMS * sizeof(float)) == 0);
      CHECK(std::memcmp(got.hidden.data(), expected.hidden.data(), TOY_HIDDEN_ELEMS * sizeof(float)) == 0);
    }
    toy_pool_destroy(pool);
  }
}

// Several threads, each with its own workspace: without a pool, each with its own, and all through one.
void runs_at_once() {
  mncc_exec *shared = toy_pool_create(3);
  for (int mode = 0; mode < 3; mode++) {
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; t++)
      threads.emplace_back([=] {
        Buffers expected(t, 1), got(t, 3);
        CHECK(expected.run(nullptr) == MNCC_OK);
        mncc_exec *own = mode == 1 ? toy_pool_create(3) : nullptr;
        for (int i = 0; i < 50; i++) {
          std::memset(got.scores.data(), 0, TOY_SCORES_ELEMS * sizeof(float));
          CHECK(got.run(mode == 2 ? shared : own) == MNCC_OK);
          CHECK(std::memcmp(got.scores.data(), expected.scores.data(), TOY_SCORES_ELEMS * sizeof(float)) == 0);
        }
        toy_pool_destroy(own);
      });
    for (std::thread &thread : threads) thread.join();
  }
  toy_pool_destroy(shared);
}

// The pool of the network `other` runs `toy` and itself, at once; and it runs a program's own tasks.
void serves_another() {
  mncc_exec *pool = other_pool_create(3);
  std::thread itself([=] {
    void *workspace = new_workspace(other_model()->workspace_bytes(3));
    std::vector<float> image(OTHER_INPUT_ELEMS, 0.5f), scores(OTHER_OUTPUT_ELEMS);
    for (int i = 0; i < 50; i++)
      CHECK(other_run(image.data(), scores.data(), workspace, other_model()->workspace_bytes(3), pool) == MNCC_OK);
    std::free(workspace);
  });
  Buffers expected(5, 1), got(5, 3);
  CHECK(expected.run(nullptr) == MNCC_OK);
  for (int i = 0; i < 50; i++) {
    CHECK(got.run(pool) == MNCC_OK);
    CHECK(got.scores == expected.scores);
  }
  itself.join();
  std::atomic<int32_t> sum{0};
  pool->parallel_for(
      pool->pool, [](void *arg, int32_t i) { *static_cast<std::atomic<int32_t> *>(arg) += i; }, &sum, 100);
  CHECK(sum == 4950);
  pool->parallel_for(pool->pool, [](void *, int32_t) { CHECK(false); }, nullptr, 0);
  other_pool_destroy(pool);
}

void reports_kernels() {
  struct Seen {
    std::thread::id thread;
    std::vector<int32_t> indices;
  } seen{std::this_thread::get_id(), {}};
  mncc_exec *pool = toy_pool_create(2);
  mncc_exec exec = *pool;
  exec.user = &seen;
  exec.on_kernel = [](void *user, int32_t index, const char *name, uint64_t nanoseconds) {
    Seen &s = *static_cast<Seen *>(user);
    CHECK(std::this_thread::get_id() == s.thread);
    CHECK(name[0] != 0 && nanoseconds < 1000000000u * uint64_t{100});
    s.indices.push_back(index);
  };
  Buffers buffers(1, 2);
  CHECK(buffers.run(&exec) == MNCC_OK);
  CHECK((seen.indices == std::vector<int32_t>{0, 1, 2}));
  toy_pool_destroy(pool);
}

// Nobody spins while no run is in progress: the process uses no time of a processor while it sleeps.
void sleeps_when_idle() {
  mncc_exec *pool = toy_pool_create(4);
  Buffers buffers(1, 4);
  CHECK(buffers.run(pool) == MNCC_OK);
  std::this_thread::sleep_for(std::chrono::milliseconds(20)); // let the workers reach their sleep
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(std::clock() - before < CLOCKS_PER_SEC / 20); // 50 ms of 600 that three spinning threads would take
  CHECK(buffers.run(pool) == MNCC_OK);
  toy_pool_destroy(pool);
}

} // namespace

int main() {
  same_bits();
  runs_at_once();
  serves_another();
  reports_kernels();
  sleeps_when_idle();
  for (int i = 0; i < 200; i++) toy_pool_destroy(toy_pool_create(1 + i % 5)); // start and end without a run
  std::puts("ok");
}
