/* Lets a TVM RPC server run programs: a module that it loads, with one function, which tracker.py calls.
 *
 *   mncc_run(line, folder, seconds) -> status
 *
 * Runs a line of the POSIX shell in a folder, its input empty, its output in the files `out` and `err` there. Answers its
 * exit status, minus the signal that ended it, or -1000 where it did not end in time: it is killed then, with all that it
 * started; -1001 where it could not be started.
 *
 * The declarations are those of TVM's C interface for functions (tvm_ffi 0.1) that this one needs: strings come as plain
 * pointers, numbers as 64 bits. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct any {
  int32_t type;
  uint32_t zero;
  union {
    int64_t number;
    const char *string;
  } value;
} any;

enum { TYPE_INT = 1, TYPE_STRING = 8, NOT_ENDED = -1000, NOT_STARTED = -1001, PAUSE_MILLISECONDS = 2 };

static void become(const char *line, const char *folder) {
  setpgid(0, 0);
  const int in = open("/dev/null", O_RDONLY);
  if (chdir(folder) != 0 || in < 0) _exit(126);
  const int out = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600), err = open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (out < 0 || err < 0) _exit(126);
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  for (int file = 3; file < 256; file++) close(file); /* the server's connections among them */
  execl("/bin/sh", "sh", "-c", line, (char *)0);
  _exit(127);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int64_t run(const char *line, const char *folder, int64_t seconds) {
  const struct timespec pause = {0, PAUSE_MILLISECONDS * 1000000L};
  const double end = now() + (double)seconds;
  int status = 0;
  const pid_t child = fork();
  if (child < 0) return NOT_STARTED;
  if (child == 0) become(line, folder);
  setpgid(child, child);
  for (;;) {
    const pid_t done = waitpid(child, &status, WNOHANG);
    if (done == child) return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    if (done < 0 && errno != EINTR) return NOT_STARTED;
    if (now() > end) break;
    nanosleep(&pause, 0);
  }
  kill(-child, SIGKILL);
  waitpid(child, &status, 0);
  return NOT_ENDED;
}

__attribute__((visibility("default"))) int __tvm_ffi_mncc_run(void *self, const any *arguments, int32_t count, any *result) {
  (void)self;
  result->type = TYPE_INT;
  result->zero = 0;
  result->value.number = NOT_STARTED;
  if (count != 3 || arguments[0].type != TYPE_STRING || arguments[1].type != TYPE_STRING || arguments[2].type != TYPE_INT)
    return 0;
  result->value.number = run(arguments[0].value.string, arguments[1].value.string, arguments[2].value.number);
  return 0;
}
