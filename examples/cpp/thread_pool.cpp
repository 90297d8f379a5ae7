#include "thread_pool.h"

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; i++) workers_.emplace_back(&ThreadPool::work, this);
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread &worker : workers_) worker.join();
}

void ThreadPool::run(Task task, void *arg, std::int32_t count) {
  const std::lock_guard<std::mutex> turn(callers_);
  std::unique_lock<std::mutex> lock(mutex_);
  task_ = task;
  arg_ = arg;
  count_ = count;
  next_ = finished_ = 0;
  wake_.notify_all();
  while (run_one(lock)) {
  }
  joined_.wait(lock, [this] { return finished_ == count_; });
}

void ThreadPool::parallel_for(void *pool, Task task, void *arg, std::int32_t count) {
  static_cast<ThreadPool *>(pool)->run(task, arg, count);
}

void ThreadPool::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || next_ < count_; });
    if (stop_) return;
    while (run_one(lock)) {
    }
  }
}

// Takes the next task, if there is one, and runs it without the lock.
bool ThreadPool::run_one(std::unique_lock<std::mutex> &lock) {
  if (next_ >= count_) return false;
  const std::int32_t index = next_++;
  lock.unlock();
  task_(arg_, index); // set before next_ was, and not changed before the last task has finished
  lock.lock();
  if (++finished_ == count_) joined_.notify_one();
  return true;
}
