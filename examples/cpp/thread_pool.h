// A small pool of std::threads, as a program may have one of its own, and how a network runs on it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

class ThreadPool {
public:
  using Task = void (*)(void *arg, std::int32_t index);

  explicit ThreadPool(int threads); // the calling one included
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  // Runs task(arg, 0) ... task(arg, count - 1) and returns when all have finished. Callers take turns.
  void run(Task task, void *arg, std::int32_t count);

  // mncc_exec.parallel_for, with a ThreadPool as mncc_exec.pool.
  static void parallel_for(void *pool, Task task, void *arg, std::int32_t count);

private:
  void work();
  bool run_one(std::unique_lock<std::mutex> &lock);

  std::mutex callers_, mutex_;
  std::condition_variable wake_, joined_;
  std::vector<std::thread> workers_;
  Task task_ = nullptr;
  void *arg_ = nullptr;
  std::int32_t next_ = 0, count_ = 0, finished_ = 0;
  bool stop_ = false;
};
