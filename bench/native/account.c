/* What the proxy under test has used, by the kernel's account, over all its processes. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"

#define PROCESSES_MAX 256
static int roots[PROCESSES_MAX], root_count, pids[PROCESSES_MAX], pid_count;

void account_for(const char *list) {
  char *copy = strdup(list);
  for (char *part = strtok(copy, ","); part && root_count < PROCESSES_MAX; part = strtok(NULL, ","))
    roots[root_count++] = atoi(part);
  free(copy);
}

int accounted(void) { return root_count > 0; }

static void add(int pid) {
  for (int i = 0; i < pid_count; i++)
    if (pids[i] == pid) return;
  if (pid > 0 && pid_count < PROCESSES_MAX) pids[pid_count++] = pid;
}

static void add_children(int pid) {
  char path[300], text[8192];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *tasks = opendir(path);
  if (!tasks) return;
  for (struct dirent *task; (task = readdir(tasks));) {
    snprintf(path, sizeof path, "/proc/%d/task/%s/children", pid, task->d_name);
    int fd = open(path, O_RDONLY);
    if (fd < 0) continue;
    ssize_t count = read(fd, text, sizeof text - 1);
    close(fd);
    text[count > 0 ? count : 0] = 0;
    for (char *child = strtok(text, " "); child; child = strtok(NULL, " ")) add(atoi(child));
  }
  closedir(tasks);
}

static void find_processes(void) {
  pid_count = 0;
  for (int i = 0; i < root_count; i++) add(roots[i]);
  for (int i = 0; i < pid_count; i++) add_children(pids[i]); /* grows while we walk */
}

static int64_t clock_ns(clockid_t clock) {
  struct timespec t;
  return clock_gettime(clock, &t) ? 0 : t.tv_sec * SEC + t.tv_nsec;
}

static int64_t thread_ns(pthread_t thread) {
  clockid_t clock;
  return pthread_getcpuclockid(thread, &clock) ? 0 : clock_ns(clock);
}

static void read_machine(struct usage *usage) {
  FILE *file = fopen("/proc/stat", "r");
  long user, nice, system, idle, iowait, irq, softirq, steal;
  if (!file) return;
  if (fscanf(file, "cpu %ld %ld %ld %ld %ld %ld %ld %ld", &user, &nice, &system, &idle, &iowait, &irq, &softirq,
             &steal) == 8) {
    usage->machine_busy = user + nice + system + irq + softirq;
    usage->machine_stolen = steal;
  }
  fclose(file);
}

struct usage usage_now(pthread_t backend, pthread_t load) {
  struct usage usage = {0};
  find_processes();
  for (int i = 0; i < pid_count; i++) {
    clockid_t clock;
    if (!clock_getcpuclockid(pids[i], &clock)) usage.proxy += clock_ns(clock);
  }
  usage.backend = thread_ns(backend);
  usage.load = thread_ns(load);
  read_machine(&usage);
  usage.at = now_ns();
  return usage;
}

static void add_memory(struct memory *memory, int pid) {
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
  FILE *file = fopen(path, "r");
  if (!file) return;
  memory->processes++;
  for (long kb; fgets(line, sizeof line, file);) {
    if (sscanf(line, "Rss: %ld", &kb) == 1) memory->rss_kb += kb;
    if (sscanf(line, "Pss: %ld", &kb) == 1) memory->pss_kb += kb;
  }
  fclose(file);
  snprintf(path, sizeof path, "/proc/%d/fd", pid);
  DIR *descriptors = opendir(path);
  if (!descriptors) return;
  while (readdir(descriptors)) memory->descriptors++;
  memory->descriptors -= 2;
  closedir(descriptors);
}

struct memory memory_now(void) {
  struct memory memory = {0};
  find_processes();
  for (int i = 0; i < pid_count; i++) add_memory(&memory, pids[i]);
  return memory;
}
