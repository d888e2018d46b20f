/* The downstream: opens connections, sends requests, and judges every byte that comes back. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig.h"

#define ERRORS_MAX 100000 /* then nothing is opened anew */

struct counts counts;
struct load *loads;
struct samples latencies, first_bytes;
int window_open;
char first_error[200];
static int epoll;
static struct timers timers;
static char rx[RX_SIZE], request[BODY_MAX + 16384];
static int64_t now;
static _Atomic uint32_t next_stream;

static void complain(const char *format, ...) {
  counts.errors++;
  if (first_error[0]) return;
  va_list args;
  va_start(args, format);
  vsnprintf(first_error, sizeof first_error, format, args);
  va_end(args);
  for (char *c = first_error; *c; c++)
    if (*c == '"' || *c == '\\' || (unsigned char)*c < 32) *c = '\'';
}

static int closed_loop(void) {
  return O.scenario == RATE || O.scenario == NEWCONN || O.scenario == UPLOAD || O.scenario == TURNS;
}
static int is(const char *option, const char *value) { return !strcmp(option, value); }

void load_prepare(int count) {
  epoll = epoll_create1(EPOLL_CLOEXEC);
  loads = calloc(count, sizeof *loads);
  if (!loads) die("out of memory");
  for (int i = 0; i < count; i++) loads[i].stream = O.id_base + i, loads[i].fd = -1;
  next_stream = O.id_base + count;
}

static void want_out(struct load *l, int wanted) {
  if (l->wants_out == wanted) return;
  l->wants_out = wanted;
  struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = l};
  epoll_ctl(epoll, EPOLL_CTL_MOD, l->fd, &event);
}

void load_drop(struct load *l, int reset) {
  if (l->fd < 0) return;
  struct linger at_once = {1, 0};
  if (reset) setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(l->fd);
  l->fd = -1;
  drop_timer(&timers, &l->timer);
  free(l->held), free(l->unsent);
  l->held = l->unsent = NULL;
  l->held_count = l->unsent_at = l->unsent_count = 0;
}

/* ---- requests */
static int write_query(char *to, size_t room) {
  int stall = (O.scenario == CANCEL || O.scenario == IDLE) && is(O.when, "stall") ? O.stall : 0;
  return snprintf(to, room, "k=%d&t=%g&think=%g&stall=%d", O.chunks, O.scenario == BULK ? 0 : O.gap_ms, O.think_ms,
                  stall);
}

static size_t write_openai(struct load *l) {
  char query[256], body[1024];
  write_query(query, sizeof query);
  int count = snprintf(body, sizeof body,
                       "{\"model\":\"bench\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                       "\"content\":\"&%s&rid=req_%u&\"}]}",
                       query, l->stream);
  return sprintf(request,
                 "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
                 "application/json\r\nX-Request-Id: req_%u\r\n"
                 "Authorization: Bearer sk-bench\r\nContent-Length: %d\r\n\r\n%s",
                 l->stream, count, body);
}

static size_t write_chat(struct load *l) {
  static char body[BODY_MAX + 256];
  char query[256], conversation[64] = "";
  if (O.openai) return write_openai(l);
  write_query(query, sizeof query);
  if (O.existing) snprintf(conversation, sizeof conversation, "\"conversationId\":\"conv_%u\",", l->stream);
  int count = sprintf(body, "{%s\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"", conversation);
  while (count < O.body - 4) body[count++] = 'x';
  count += sprintf(body + count, "\"}]}");
  int head = sprintf(request,
                     "POST %s?%s&bl=%d HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: rig\r\nAccept: */*\r\nContent-Type: "
                     "application/json\r\n"
                     "X-Request-Id: req_%u\r\nContent-Length: %d\r\n\r\n",
                     O.path, query, count, l->stream, count);
  memcpy(request + head, body, count);
  return head + count;
}

static size_t write_request(struct load *l) {
  if (O.scenario == RATE || O.scenario == NEWCONN)
    return sprintf(request, "GET /small HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: rig\r\nAccept: */*\r\n%s\r\n",
                   O.scenario == NEWCONN ? "Connection: close\r\n" : "");
  if (O.scenario == UPLOAD) {
    l->upload_left = (int64_t)O.size_hi * O.chunks;
    return sprintf(request,
                   "POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
                   "application/octet-stream\r\nContent-Length: %ld\r\n\r\n",
                   (long)l->upload_left);
  }
  if (O.scenario == TURNS) l->stream = next_stream++;
  return write_chat(l);
}

static void ask(struct load *l) {
  size_t count = write_request(l);
  l->state = WAITING;
  l->held_count = 0;
  l->status = l->bad = 0;
  l->seq = 0;
  l->place = 0;
  if (O.scenario != NEWCONN) l->since = now_ns();
  ssize_t sent = send(l->fd, request, count, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0) sent = 0; /* a reset shows when it is read */
  if ((size_t)sent < count) {
    l->unsent = grown(l->unsent, count - sent);
    memcpy(l->unsent, request + sent, count - sent);
    l->unsent_at = 0;
    l->unsent_count = count - sent;
  }
  want_out(l, l->unsent_count || l->upload_left);
}

/* ---- opening and leaving */
int load_open(struct load *l) {
  int on = 1;
  l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  l->state = CONNECTING;
  l->since = now_ns();
  l->wants_out = 1;
  l->upload_left = 0;
  if (l->fd >= 0) setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (l->fd < 0 || (connect(l->fd, (void *)&O.target, sizeof O.target) && errno != EINPROGRESS)) {
    complain("connect: %s", strerror(errno));
    counts.refused++;
    load_drop(l, 0);
    l->state = ENDED;
    return -1;
  }
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = l};
  epoll_ctl(epoll, EPOLL_CTL_ADD, l->fd, &event);
  return 0;
}

void load_open_all(int count, double ramp_s) {
  int64_t from = now_ns();
  for (int i = 0; i < count; i++) {
    loads[i].opens = 1;
    set_timer(&timers, &loads[i].timer, from + (int64_t)(ramp_s * SEC * i / count));
  }
}

static void leave_later(struct load *l) {
  double share = (mix(O.seed * 1000003 + (l->stream - O.id_base) * 31 + 77) >> 11) / 9007199254740992.0;
  l->opens = 0;
  set_timer(&timers, &l->timer, now_ns() + (int64_t)((O.close_lo_s + (O.close_hi_s - O.close_lo_s) * share) * SEC));
}

static void leave(struct load *l) {
  struct record *r = record_of(l->stream);
  struct linger at_once = {1, 0};
  if (is(O.how, "rst")) setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  if (r) atomic_store(&r->left_at, now_ns());
  close(l->fd);
  l->fd = -1;
  l->state = ENDED;
  free(l->held), free(l->unsent);
  l->held = l->unsent = NULL;
  counts.over++;
}

/* ---- answers */
static void again(struct load *l, int anew) {
  if (counts.errors > ERRORS_MAX) return;
  if (!anew) {
    ask(l);
    return;
  }
  load_drop(l, 0);
  load_open(l);
}

static void judge_stream(struct load *l) {
  if (l->status != 200) return;
  if (!l->bad && (int)l->seq == O.chunks && !l->place) {
    counts.complete++;
    return;
  }
  counts.cut_short++;
  if ((int)l->seq < O.chunks) counts.lost += O.chunks - l->seq;
  complain("an answer ended after %u of %d messages, %.0f ms after its request", l->seq, O.chunks,
           (now - l->since) / 1e6);
}

static void answered(struct load *l) {
  if (l->status != 200) {
    counts.bad_statuses++;
    complain("status %d", l->status);
  }
  if (!closed_loop() || O.scenario == TURNS) judge_stream(l);
  if (closed_loop()) {
    counts.requests++;
    if (window_open) {
      counts.window_requests++;
      sample(&latencies, now - l->since);
    }
    again(l, O.scenario == NEWCONN || !l->keep);
    return;
  }
  load_drop(l, 0);
  l->state = ENDED;
  counts.over++;
}

static void ended_early(struct load *l, const char *why) {
  if (l->state == READING && l->until_close) {
    answered(l);
    return;
  }
  complain("closed early (%s) in state %d after %u messages", why, l->state, l->seq);
  counts.early++;
  if (closed_loop()) {
    again(l, 1);
    return;
  }
  if (O.scenario == STREAMS && (int)l->seq < O.chunks) counts.lost += O.chunks - l->seq;
  load_drop(l, 0);
  l->state = ENDED;
  counts.over++;
}

static void message_is_in(struct load *l) {
  l->seq++;
  l->place = 0;
  if (window_open) {
    counts.window_chunks++;
    if (O.scenario == STREAMS) sample(&latencies, now - l->stamp);
  }
  if (O.scenario != CANCEL) return;
  if ((is(O.when, "mid") && l->seq == 1) || (is(O.when, "stall") && (int)l->seq == O.stall)) leave_later(l);
}

static void corrupt(struct load *l, const char *what) {
  counts.corrupt++;
  l->bad = 1;
  complain("changed bytes in a message's %s", what);
}

static void head_is_in(struct load *l) {
  uint32_t seq = l->seq;
  if (!read_head(l->head, l->stream, &l->stamp, &seq)) {
    corrupt(l, "head");
    return;
  }
  if (seq != l->seq) {
    counts.misplaced++;
    complain("message %u where %u was due", seq, l->seq);
    l->seq = seq;
  }
  l->size = message_size(l->stream, seq);
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static size_t read_message_head(struct load *l, const char *bytes, size_t count) {
  size_t part = least(MESSAGE_HEAD - l->place, count);
  memcpy(l->head + l->place, bytes, part);
  l->place += part;
  if (l->place == MESSAGE_HEAD) head_is_in(l);
  return part;
}

static size_t read_message_body(struct load *l, const char *bytes, size_t count) {
  size_t part = least(l->size - 1 - l->place, count);
  if (part && memcmp(filler(l->stream, l->seq) + l->place - MESSAGE_HEAD, bytes, part)) corrupt(l, "filler");
  l->place += part;
  if (l->place < l->size - 1 || part == count) return part;
  if (bytes[part] != '\n') corrupt(l, "end");
  message_is_in(l);
  return part + 1;
}

/* LiteLLM and its like take events apart and make them anew: only the heads can be looked for. */
static void read_events(struct load *l, const char *bytes, size_t count) {
  while (count && !l->bad) {
    const char *mark = l->place ? bytes : memchr(bytes, '@', count);
    if (!mark) return;
    count -= mark - bytes;
    size_t used = read_message_head(l, mark, count);
    bytes = mark + used, count -= used;
    if (l->place == MESSAGE_HEAD && !l->bad) message_is_in(l);
  }
}

static void read_body(struct load *l, const char *bytes, size_t count) {
  if (window_open) counts.window_bytes += count;
  if (l->status != 200 || (closed_loop() && O.scenario != TURNS)) return;
  if (O.openai) {
    read_events(l, bytes, count);
    return;
  }
  while (count && !l->bad) {
    size_t used = l->place < MESSAGE_HEAD ? read_message_head(l, bytes, count) : read_message_body(l, bytes, count);
    bytes += used, count -= used;
  }
}

static void read_head_fields(struct load *l, const char *head, const char *end) {
  size_t count;
  const char *value;
  l->status = end - head > 12 ? atoi(head + 9) : 0;
  l->keep = strncmp(head, "HTTP/1.0", 8) != 0;
  if ((value = find_field(head, end, "connection", &count)) && has_token(value, count, "close")) l->keep = 0;
  l->chunked = (value = find_field(head, end, "transfer-encoding", &count)) && has_token(value, count, "chunked");
  memset(&l->dechunker, 0, sizeof l->dechunker);
  value = find_field(head, end, "content-length", &count);
  l->length = value ? atoll(value) : -1;
  l->until_close = !l->chunked && !value;
  if (l->until_close) l->keep = 0;
  l->state = READING;
  if (l->status == 100) {
    l->state = WAITING;
    return;
  }
  counts.headers++;
  if (O.scenario != RATE && O.scenario != NEWCONN && O.scenario != UPLOAD) {
    sample(&first_bytes, now - l->since);
    if (l->status == 200 && !find_field(head, end, "x-conversation-id", &count)) counts.nameless++;
  }
}

/* Says how many of the bytes belonged to the head. */
static size_t read_response_head(struct load *l, const char *bytes, size_t count) {
  const char *end = l->held_count ? NULL : memmem(bytes, count, "\r\n\r\n", 4);
  if (end) {
    read_head_fields(l, bytes, end + 2);
    return end + 4 - bytes;
  }
  size_t before = l->held_count;
  l->held = grown(l->held, before + count);
  memcpy(l->held + before, bytes, count);
  l->held_count += count;
  end = memmem(l->held, l->held_count, "\r\n\r\n", 4);
  if (!end) return count;
  read_head_fields(l, l->held, end + 2);
  l->held_count = 0;
  return end + 4 - l->held - before;
}

static size_t read_answer_body(struct load *l, const char *bytes, size_t count) {
  if (l->until_close) {
    read_body(l, bytes, count);
    return count;
  }
  if (!l->chunked) {
    size_t part = (int64_t)count < l->length ? count : (size_t)l->length;
    read_body(l, bytes, part);
    l->length -= part;
    if (!l->length) answered(l);
    return part;
  }
  const char *data;
  size_t data_count, used = dechunk(&l->dechunker, bytes, count, &data, &data_count);
  if (data_count) read_body(l, data, data_count);
  if (l->dechunker.state == CHUNK_BAD) ended_early(l, "bad chunked coding");
  else if (l->dechunker.state == CHUNK_END) answered(l);
  return used;
}

static void read_answer(struct load *l, const char *bytes, size_t count) {
  int fd = l->fd;
  while (count && l->fd == fd && fd >= 0 && l->state != ENDED) {
    size_t used = l->state == WAITING ? read_response_head(l, bytes, count) : read_answer_body(l, bytes, count);
    bytes += used, count -= used;
    if (l->state == READING && !l->chunked && !l->length) answered(l);
    if (l->state == CONNECTING) return;
  }
}

/* ---- events */
static void connected(struct load *l) {
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error) {
    counts.refused++;
    ended_early(l, strerror(error));
    return;
  }
  if (O.scenario == CANCEL && (is(O.when, "think") || is(O.when, "any"))) leave_later(l);
  ask(l);
}

static void writable(struct load *l) {
  if (l->unsent_count) {
    ssize_t sent = send(l->fd, l->unsent + l->unsent_at, l->unsent_count - l->unsent_at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) l->unsent_at += sent;
    if (l->unsent_at == l->unsent_count) l->unsent_at = l->unsent_count = 0;
  } else if (l->upload_left) {
    ssize_t sent = send(l->fd, filler(0, 0), least(l->upload_left, 262144), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      l->upload_left -= sent;
      if (window_open) counts.window_uploaded += sent;
    }
  }
  want_out(l, l->unsent_count || l->upload_left);
}

static void readable(struct load *l) {
  ssize_t count = recv(l->fd, rx, RX_SIZE, MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  now = now_ns();
  if (count <= 0) {
    ended_early(l, count ? strerror(errno) : "end of file");
    return;
  }
  if (window_open) counts.window_reads++;
  read_answer(l, rx, count);
}

static void dispatch(const struct epoll_event *event) {
  struct load *l = event->data.ptr;
  if (l->fd < 0) return;
  if (l->state == CONNECTING) {
    if (event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) connected(l);
    return;
  }
  if (event->events & EPOLLOUT) writable(l);
  if (l->fd >= 0 && event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(l);
}

static void timed(struct load *l) {
  if (l->opens) {
    if (load_open(l)) counts.over++;
  } else if (l->fd >= 0) {
    leave(l);
  }
}

void load_turn(int64_t at_most_ns) {
  struct epoll_event events[256];
  int ready = wait_events(epoll, events, 256, &timers, at_most_ns);
  for (int i = 0; i < ready; i++) dispatch(&events[i]);
  struct timer *timer;
  for (int i = 0; i < 64 && (timer = due_timer(&timers)); i++) timed((struct load *)timer);
}

void load_until(int64_t at) {
  for (int64_t left; (left = at - now_ns()) > 0;) load_turn(left < 20 * MS ? left : 20 * MS);
}
