/* Time, samples, timers. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rig.h"

int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * SEC + t.tv_nsec;
}

void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, "rig: ");
  vfprintf(stderr, format, args);
  fprintf(stderr, "%s%s\n", errno ? ": " : "", errno ? strerror(errno) : "");
  exit(2);
}

/* splitmix64: what is drawn depends on the seed alone. */
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

void *grown(void *old, size_t size) {
  void *block = realloc(old, size);
  if (!block) die("out of memory");
  return block;
}

void sample(struct samples *s, int64_t value_ns) {
  if (s->count == s->room) {
    s->room = s->room ? s->room * 2 : 65536;
    s->at = grown(s->at, s->room * sizeof *s->at);
  }
  s->at[s->count++] = value_ns;
}

static int by_value(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

void sort_samples(struct samples *s) {
  if (s->count) qsort(s->at, s->count, sizeof *s->at, by_value);
}

/* Of sorted samples; -1 where there are none. */
double percentile_us(const struct samples *s, double percent) {
  if (!s->count) return -1;
  size_t i = (size_t)(percent / 100.0 * (s->count - 1) + 0.5);
  return s->at[i < s->count ? i : s->count - 1] / 1000.0;
}

/* ---- a binary heap, the root at 1 */
static void put(struct timers *t, int place, struct timer *timer) {
  t->heap[place] = timer;
  timer->place = place;
}

static void rise(struct timers *t, int place) {
  struct timer *timer = t->heap[place];
  for (; place > 1 && t->heap[place / 2]->due > timer->due; place /= 2) put(t, place, t->heap[place / 2]);
  put(t, place, timer);
}

static void sink(struct timers *t, int place) {
  struct timer *timer = t->heap[place];
  for (int child; (child = 2 * place) <= t->count; place = child) {
    if (child < t->count && t->heap[child + 1]->due < t->heap[child]->due) child++;
    if (t->heap[child]->due >= timer->due) break;
    put(t, place, t->heap[child]);
  }
  put(t, place, timer);
}

void drop_timer(struct timers *t, struct timer *timer) {
  int place = timer->place;
  if (!place) return;
  timer->place = 0;
  struct timer *last = t->heap[t->count--];
  if (last == timer) return;
  put(t, place, last);
  rise(t, place);
  sink(t, last->place);
}

void set_timer(struct timers *t, struct timer *timer, int64_t due) {
  drop_timer(t, timer);
  if (t->count + 2 > t->room) {
    t->room = t->room ? 2 * t->room : 1024;
    t->heap = grown(t->heap, t->room * sizeof *t->heap);
  }
  timer->due = due;
  put(t, ++t->count, timer);
  rise(t, t->count);
}

/* The next timer that is due, taken out; NULL if none is. */
struct timer *due_timer(struct timers *t) {
  if (!t->count || t->heap[1]->due > now_ns()) return NULL;
  struct timer *timer = t->heap[1];
  drop_timer(t, timer);
  return timer;
}

int wait_events(int epoll, struct epoll_event *events, int max, const struct timers *t, int64_t at_most_ns) {
  int64_t wait = at_most_ns;
  if (t->count) {
    int64_t left = t->heap[1]->due - now_ns();
    if (left < wait) wait = left;
  }
  if (wait < 0) wait = 0;
  struct timespec timeout = {wait / SEC, wait % SEC};
  int ready = epoll_pwait2(epoll, events, max, &timeout, NULL);
  if (ready < 0 && errno != EINTR) die("epoll");
  return ready < 0 ? 0 : ready;
}
