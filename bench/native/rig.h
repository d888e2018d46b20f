/* The two ends of the wire: a BACKEND thread that a proxy under test is put before, and a LOAD thread that goes through
 * that proxy. They share one process, and so one clock and one record per stream: a byte's way through the proxy is
 * measured without trusting the proxy with anything.
 *
 *   tools.c      time, samples, timers           backend.c    the upstream: chat streams, bulk, the admin API
 *   wire.c       chunked coding, fields, messages  load.c       the downstream: connections, checks of every byte
 *   account.c    CPU and memory of the proxy      scenarios.c  what is run, and what it says
 */
#pragma once
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define MS 1000000LL
#define SEC 1000000000LL
#define RX_SIZE (256 * 1024)
#define MESSAGE_MAX (1 << 20)
#define MESSAGE_MIN 16
#define MESSAGE_HEAD 15 /* '@', 8 digits of time, 3 of the stream, 3 of the message, to the base of 64 */
#define STREAMS_MAX (1 << 18)
#define BODY_MAX 65536

enum scenario { RATE, NEWCONN, TURNS, STREAMS, BULK, UPLOAD, CANCEL, IDLE, SERVE, SCENARIOS };

struct options {
  enum scenario scenario;
  const char *label, *when, *how, *path, *expect, *pids;
  struct sockaddr_in target;
  int port, streams, connections, chunks, size_lo, size_hi, body, stall, existing, openai;
  double window_s, warm_s, ramp_s, limit_s, wait_s, close_lo_s, close_hi_s, gap_ms, think_ms;
  uint64_t seed;
  uint32_t id_base;
};
extern struct options O;

/* What both ends know of a stream; times are 0 until it happened. */
struct record {
  _Atomic int64_t requested_at, left_at, seen_gone_at, cancelled_at, rolled_back_at;
  _Atomic int requests, wasted, cancels, rollbacks, finished;
  _Atomic int64_t wasted_bytes;
};
struct record *record_of(int64_t stream);
extern struct record *records;

/* ---- tools.c */
int64_t now_ns(void);
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
uint64_t mix(uint64_t x);
void *grown(void *old, size_t size);

struct samples {
  int64_t *at;
  size_t count, room;
};
void sample(struct samples *s, int64_t value_ns);
void sort_samples(struct samples *s);
double percentile_us(const struct samples *s, double percent);

struct timer {
  int64_t due;
  int place; /* from 1; 0: not set */
};
struct timers {
  struct timer **heap;
  int count, room;
};
void set_timer(struct timers *timers, struct timer *timer, int64_t due);
void drop_timer(struct timers *timers, struct timer *timer);
struct timer *due_timer(struct timers *timers);
int wait_events(int epoll, struct epoll_event *events, int max, const struct timers *timers, int64_t at_most_ns);

/* ---- wire.c */
enum dechunk_state { CHUNK_SIZE, CHUNK_DATA, CHUNK_CRLF, CHUNK_TRAILER, CHUNK_END, CHUNK_BAD };
struct dechunker {
  enum dechunk_state state;
  int digits, extension, line;
  int64_t left;
};
size_t dechunk(struct dechunker *d, const char *bytes, size_t count, const char **data, size_t *data_count);
const char *find_field(const char *head, const char *end, const char *name, size_t *count);
int has_token(const char *value, size_t count, const char *token);
double query_number(const char *query, const char *name, double otherwise);

void prepare_filler(void);
const char *filler(uint32_t stream, uint32_t seq);
int message_size(uint32_t stream, uint32_t seq);
size_t write_message(char *to, uint32_t stream, uint32_t seq);
int read_head(const char *head, uint32_t stream, int64_t *stamp_ns, uint32_t *seq);
extern const char OPENAI_END[];

/* ---- backend.c */
extern _Atomic int64_t backend_requests, backend_connections, backend_open, streams_seen, bad_bodies, bad_requests,
    foreign_ids;
extern _Atomic int64_t window_from, window_to;
extern _Atomic int backend_stop;
extern struct samples timer_late;
void backend_listen(void);
void *backend_main(void *unused);

/* ---- account.c */
struct usage {
  int64_t at, proxy, backend, load;     /* ns */
  int64_t machine_busy, machine_stolen; /* ticks of 10 ms */
};
struct memory {
  long rss_kb, pss_kb;
  int processes, descriptors;
};
void account_for(const char *pids);
int accounted(void);
struct usage usage_now(pthread_t backend, pthread_t load);
struct memory memory_now(void);

/* ---- load.c */
enum load_state { UNUSED, CONNECTING, WAITING, READING, ENDED };
struct counts {
  int64_t requests, window_requests, errors, bad_statuses, refused, early, headers, over, complete, cut_short;
  int64_t corrupt, misplaced, lost, nameless, window_chunks, window_reads, window_bytes, window_uploaded;
};
struct load {
  struct timer timer;
  int opens; /* the timer opens, and does not close */
  int fd, wants_out, bad, keep, chunked, until_close;
  enum load_state state;
  uint32_t stream, seq;
  int status;
  int64_t since, length, stamp, upload_left;
  struct dechunker dechunker;
  int64_t place, size; /* in the message that is being read */
  char head[MESSAGE_HEAD];
  char *held; /* of a response head that is not whole yet */
  size_t held_count;
  char *unsent;
  size_t unsent_at, unsent_count;
};
extern struct counts counts;
extern struct load *loads;
extern struct samples latencies, first_bytes;
extern int window_open;
extern char first_error[200];
void load_prepare(int count);
int load_open(struct load *load);
void load_drop(struct load *load, int reset);
void load_open_all(int count, double ramp_s);
void load_turn(int64_t at_most_ns);
void load_until(int64_t at);

/* ---- scenarios.c */
extern pthread_t backend_thread, load_thread;
void *scenario_main(void *unused);
