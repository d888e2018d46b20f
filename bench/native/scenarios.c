/* What is run, within which window it is measured, and what is said of it: one JSON object on stdout. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

pthread_t backend_thread, load_thread;
static const char *separator = "{";
static struct usage before, after;
static struct memory memory_before, memory_after;

static void tell(const char *key, double value) {
  int whole = value == (double)(int64_t)value;
  printf(whole ? "%s\"%s\":%.0f" : "%s\"%s\":%.3f", separator, key, value);
  separator = ",";
}

static void tell_text(const char *key, const char *value) {
  printf("%s\"%s\":\"%s\"", separator, key, value);
  separator = ",";
}

static void tell_samples(const char *prefix, struct samples *s) {
  static const struct {
    const char *name;
    double percent;
  } marks[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p999", 99.9}, {"max", 100}};
  char key[64];
  sort_samples(s);
  for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
    snprintf(key, sizeof key, "%s_%s_us", prefix, marks[i].name);
    tell(key, percentile_us(s, marks[i].percent));
  }
}

static double window_s(void) { return (after.at - before.at) / 1e9; }

/* CPU over the window, for the proxy and for us; `units` of work were done in it. */
static void tell_usage(double units) {
  double wall = window_s(), ends = (after.backend - before.backend) + (after.load - before.load);
  double proxy = after.proxy - before.proxy, busy = (after.machine_busy - before.machine_busy) * 1e7;
  tell("window_s", wall);
  tell("units", units);
  tell("cpu_us_per_unit", units > 0 && accounted() ? proxy / 1e3 / units : -1);
  tell("ends_us_per_unit", units > 0 ? ends / 1e3 / units : -1);
  tell("cpu_pct", proxy / 1e7 / wall);
  tell("backend_pct", (after.backend - before.backend) / 1e7 / wall);
  tell("load_pct", (after.load - before.load) / 1e7 / wall);
  tell("others_pct", (busy - proxy - ends) / 1e7 / wall);
  tell("stolen_pct", (after.machine_stolen - before.machine_stolen) / wall);
}

static void open_window(void) {
  before = usage_now(backend_thread, load_thread);
  atomic_store(&window_from, before.at);
  window_open = 1;
}

static void close_window(void) {
  window_open = 0;
  after = usage_now(backend_thread, load_thread);
  atomic_store(&window_to, after.at);
  memory_after = memory_now();
}

static void drop_all(int count) {
  for (int i = 0; i < count; i++) load_drop(&loads[i], 1);
}

/* ---- as many requests as a few connections can make; or bytes, for bulk */
static void run_closed_loop(int count) {
  for (int i = 0; i < count; i++) load_open(&loads[i]);
  load_until(now_ns() + (int64_t)(O.warm_s * SEC));
  open_window();
  load_until(before.at + (int64_t)(O.window_s * SEC));
  close_window();
  drop_all(count);
  if (O.scenario == UPLOAD || O.scenario == BULK) {
    double megabytes = (O.scenario == BULK ? counts.window_bytes : counts.window_uploaded) / 1e6;
    tell("mb_per_s", megabytes / window_s());
    tell_usage(megabytes);
    return;
  }
  tell("per_s", counts.window_requests / window_s());
  tell_samples("latency", &latencies);
  tell_usage(counts.window_requests);
}

/* ---- paced streams: measured once all of them are open, until the first one ends */
static void run_streams(int count) {
  int64_t give_up = now_ns() + (int64_t)(O.limit_s * SEC), headers_by = now_ns() + (int64_t)((O.ramp_s + 10) * SEC);
  load_open_all(count, O.ramp_s);
  while (counts.headers + counts.over < count && now_ns() < headers_by) load_turn(5 * MS);
  load_until(now_ns() + 200 * MS);
  int64_t over = counts.over;
  open_window();
  int64_t end = before.at + (int64_t)(O.window_s * SEC);
  while (now_ns() < end && counts.over == over) load_turn(end - now_ns() < 5 * MS ? end - now_ns() : 5 * MS);
  close_window();
  while (counts.over < count && now_ns() < give_up) load_turn(20 * MS);
  tell("unfinished", count - counts.over);
  drop_all(count);
  tell("offered_per_s", count / O.gap_ms * 1000);
  tell("per_s", counts.window_chunks / window_s());
  tell("chunks_per_read", counts.window_reads ? (double)counts.window_chunks / counts.window_reads : -1);
  tell_samples("latency", &latencies);
  tell_samples("timer_late", (sort_samples(&timer_late), &timer_late));
  tell("window_cut", after.at < end - 50 * MS);
  tell_usage(counts.window_chunks);
}

/* ---- clients that leave */
static int owed(const struct record *r) {
  if (!r->left_at || r->finished || !r->requested_at) return 0;
  return !r->seen_gone_at || (strstr(O.expect, "cancel") && !r->cancelled_at) ||
         (strstr(O.expect, "rollback") && !r->rolled_back_at);
}

static void await_what_is_owed(int count) {
  int64_t give_up = now_ns() + (int64_t)(O.wait_s * SEC);
  for (int open = 1; open && now_ns() < give_up;) {
    open = 0;
    for (int i = 0; i < count && !open; i++) open = owed(&records[i]);
    load_turn(5 * MS);
  }
  load_until(now_ns() + 200 * MS); /* what comes twice, or after the close, comes by now */
}

static void tell_cancels(int count) {
  struct samples gone = {0}, cancelled = {0}, rolled_back = {0};
  double left = 0, unforwarded = 0, late = 0, never = 0, finished = 0, uncancelled = 0, kept = 0, twice = 0, wasted = 0,
         bytes = 0;
  for (int i = 0; i < count; i++) {
    struct record *r = &records[i];
    if (!r->left_at) continue;
    left++;
    unforwarded += !r->requested_at;
    if (!r->requested_at) continue;
    late += r->requested_at > r->left_at;
    twice += (r->requests > 1) + (r->cancels > 1) + (r->rollbacks > 1);
    wasted += r->wasted;
    bytes += r->wasted_bytes;
    finished += r->finished;
    if (r->finished) continue;
    if (r->seen_gone_at >= r->left_at) sample(&gone, r->seen_gone_at - r->left_at);
    if (r->cancelled_at) sample(&cancelled, r->cancelled_at - r->left_at);
    if (r->rolled_back_at) sample(&rolled_back, r->rolled_back_at - r->left_at);
    never += !r->seen_gone_at;
    uncancelled += !r->cancelled_at;
    kept += !r->rolled_back_at;
  }
  tell("left", left);
  tell("never_forwarded", unforwarded);
  tell("forwarded_after_close", late);
  tell("finished_anyway", finished);
  tell("never_seen", never);
  tell("doubled", twice);
  tell("wasted_chunks", wasted);
  tell("wasted_bytes", bytes);
  tell_samples("closed", &gone);
  tell_samples("cancelled", &cancelled);
  tell_samples("rolled_back", &rolled_back);
  tell("cancel_missing", strstr(O.expect, "cancel") ? uncancelled : 0);
  tell("rollback_missing", strstr(O.expect, "rollback") ? kept : 0);
  tell_usage(left);
}

static void run_cancel(int count) {
  int64_t give_up = now_ns() + (int64_t)(O.limit_s * SEC);
  open_window();
  load_open_all(count, O.ramp_s);
  while (counts.over < count && now_ns() < give_up) load_turn(5 * MS);
  await_what_is_owed(count);
  close_window();
  tell_cancels(count);
  drop_all(count);
}

/* ---- streams on which nothing happens: what they weigh */
static void run_idle(int count) {
  int64_t from = now_ns(), give_up = from + (int64_t)(O.limit_s * SEC);
  load_open_all(count, O.ramp_s);
  while (streams_seen + counts.over < count && now_ns() < give_up) load_turn(5 * MS);
  tell("all_open_s", (now_ns() - from) / 1e9);
  load_until(now_ns() + SEC);
  open_window();
  load_until(before.at + (int64_t)(O.window_s * SEC));
  close_window();
  double seen = streams_seen;
  tell("reached_backend", seen);
  tell("rss_before_kb", memory_before.rss_kb);
  tell("rss_kb_per_stream", seen ? (memory_after.rss_kb - memory_before.rss_kb) / seen : -1);
  tell("pss_kb_per_stream", seen ? (memory_after.pss_kb - memory_before.pss_kb) / seen : -1);
  tell_usage(seen);
  drop_all(count);
  for (int64_t until = now_ns() + SEC; backend_open > 0 && now_ns() < until;) usleep(2000);
  tell("left_open_after_1s", backend_open);
}

static void tell_totals(void) {
  tell("rss_kb", memory_after.rss_kb);
  tell("processes", memory_after.processes);
  tell("descriptors", memory_after.descriptors);
  tell("complete", counts.complete);
  tell("lost_chunks", counts.lost);
  tell("misplaced_chunks", counts.misplaced);
  tell("changed_chunks", counts.corrupt);
  tell("cut_short", counts.cut_short);
  tell("no_conversation_header", counts.nameless);
  tell_samples("first_byte", &first_bytes);
  tell("errors", counts.errors);
  tell("bad_statuses", counts.bad_statuses);
  tell("refused", counts.refused);
  tell("closed_early", counts.early);
  tell("bad_bodies", bad_bodies);
  tell("bad_requests", bad_requests);
  tell("foreign_ids", foreign_ids);
  tell("backend_connections", backend_connections);
  tell_text("first_error", first_error);
  printf("}\n");
}

void *scenario_main(void *unused) {
  (void)unused;
  load_thread = pthread_self();
  pthread_setname_np(load_thread, "rig-load");
  int many = O.scenario == STREAMS || O.scenario == CANCEL || O.scenario == IDLE,
      count = many ? O.streams : O.connections;
  load_prepare(count);
  memory_before = memory_now();
  tell_text("label", O.label);
  tell("count", count);
  if (!many) run_closed_loop(count);
  else if (O.scenario == STREAMS) run_streams(count);
  else if (O.scenario == CANCEL) run_cancel(count);
  else run_idle(count);
  tell_totals();
  return NULL;
}
