/* The upstream: HTTP/1.1 on 127.0.0.1, as strict with its requests as it has to be to know that none was changed.
 *
 *   GET  /small                             100 bytes
 *   GET  /big?bytes=                        as fast as they go
 *   POST /upload                            tells how many bytes came
 *   POST ...chat?k=&t=&think=&stall=&bl=    k messages, t ms apart (0: as fast as they go), after think ms of silence;
 *                                           after `stall` messages it says no more; bl: the body's length, checked
 *   POST /v1/chat/completions               the same as server-sent events; the query stands in the body
 *   POST /admin/requests/req_N/cancel, DELETE /admin/conversations/conv_N      note the time
 *
 * The stream's number N comes from `X-Request-Id: req_N`.
 */
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig.h"

#define HEAD_MAX 60000
#define HELD_MAX (3 * 65536)
#define TURN_BYTES (1 << 20) /* written for one stream before the others have their turn */

enum phase { HEAD, BODY, BUSY, STREAM, CLOSING };
enum route { UNKNOWN, SMALL, BIG, TAKE_UPLOAD, CHAT, CANCEL_CALL, ROLLBACK_CALL, BAD_BODY };

struct answer {
  struct timer timer;
  int fd, wants_out, dead, http10, close_after, chunked_in, under_way, chunks, stall;
  enum phase phase;
  enum route route;
  int64_t stream, body_left, body_count, gap_ns, think_ns, big_left;
  uint32_t seq;
  char query[512];
  struct dechunker dechunker;
  char *held, *body, *unsent;
  size_t held_count, body_kept, unsent_at, unsent_count, unsent_room;
};

_Atomic int64_t backend_requests, backend_connections, backend_open, streams_seen, bad_bodies, bad_requests,
    foreign_ids;
_Atomic int64_t window_from, window_to;
_Atomic int backend_stop;
struct samples timer_late;
static int listener = -1, epoll;
static struct timers timers;
static struct answer **dead;
static int dead_count, dead_room;
static char rx[RX_SIZE + 4 * 65536], tx[MESSAGE_MAX + 4096];
static const char SMALL_BODY[] =
    "0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopq\n";

/* ---- a connection's end; freed only after the batch of events that may still name it */
static void drop(struct answer *a) {
  if (a->dead) return;
  a->dead = 1;
  drop_timer(&timers, &a->timer);
  close(a->fd);
  atomic_fetch_sub(&backend_open, 1);
  free(a->held), free(a->body), free(a->unsent);
  a->held = a->body = a->unsent = NULL;
  if (dead_count == dead_room) dead = grown(dead, (dead_room += 1024) * sizeof *dead);
  dead[dead_count++] = a;
}

static void gone(struct answer *a) {
  struct record *r = a->under_way ? record_of(a->stream) : NULL;
  int64_t never = 0;
  if (r) atomic_compare_exchange_strong(&r->seen_gone_at, &never, now_ns());
  drop(a);
}

static void malformed(struct answer *a) {
  atomic_fetch_add(&bad_requests, 1);
  drop(a);
}

/* ---- writing: what the kernel does not take now is kept, and goes first later */
static void want_out(struct answer *a, int wanted) {
  if (a->wants_out == wanted) return;
  a->wants_out = wanted;
  struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (wanted ? EPOLLOUT : 0), .data.ptr = a};
  epoll_ctl(epoll, EPOLL_CTL_MOD, a->fd, &event);
}

static int backed_up(const struct answer *a) { return a->unsent_at < a->unsent_count; }

/* Bytes the kernel took, or -1 for a connection that is gone. */
static ssize_t push(struct answer *a, const char *bytes, size_t count) {
  ssize_t sent = send(a->fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0) return sent;
  if (errno == EAGAIN || errno == EINTR) return 0;
  gone(a);
  return -1;
}

static int say(struct answer *a, const char *bytes, size_t count) {
  if (!backed_up(a)) {
    ssize_t sent = push(a, bytes, count);
    if (sent < 0) return -1;
    bytes += sent, count -= sent;
    if (!count) return 0;
    a->unsent_at = a->unsent_count = 0;
  }
  if (a->unsent_count + count > a->unsent_room)
    a->unsent = grown(a->unsent, a->unsent_room = 2 * (a->unsent_count + count));
  memcpy(a->unsent + a->unsent_count, bytes, count);
  a->unsent_count += count;
  want_out(a, 1);
  return 0;
}

static int flush(struct answer *a) {
  while (backed_up(a)) {
    ssize_t sent = push(a, a->unsent + a->unsent_at, a->unsent_count - a->unsent_at);
    if (sent <= 0) return -1;
    a->unsent_at += sent;
  }
  a->unsent_at = a->unsent_count = 0;
  return 0;
}

/* ---- answers */
static size_t take(struct answer *a, const char *bytes, size_t count);

static void keep(struct answer *a, const char *bytes, size_t count) {
  a->held = grown(a->held, count);
  memcpy(a->held, bytes, count);
  a->held_count = count;
}

static void finish(struct answer *a) {
  a->under_way = 0;
  a->stream = -1;
  a->phase = a->close_after ? CLOSING : HEAD;
  if (a->close_after) {
    if (!backed_up(a)) shutdown(a->fd, SHUT_WR);
    return;
  }
  if (!a->held_count) return;
  char *next = a->held;
  size_t count = a->held_count;
  a->held = NULL;
  a->held_count = 0;
  size_t used = take(a, next, count);
  if (!a->dead && used < count) keep(a, next + used, count - used);
  free(next);
}

static void answer_with(struct answer *a, const char *status, const char *type, const char *body) {
  char text[1024];
  int count = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n%s", status,
                       type, strlen(body), a->close_after ? "Connection: close\r\n" : "", body);
  if (!say(a, text, count)) finish(a);
}

static void begin_stream(struct answer *a) {
  char text[512];
  if (a->http10) a->close_after = 1;
  int count = snprintf(
      text, sizeof text,
      "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nX-Conversation-Id: conv_%ld\r\nCache-Control: no-cache\r\n%s%s\r\n",
      O.openai ? "text/event-stream" : "text/plain; charset=utf-8", (long)a->stream,
      a->http10 ? "" : "Transfer-Encoding: chunked\r\n", a->close_after ? "Connection: close\r\n" : "");
  a->phase = STREAM;
  if (say(a, text, count)) return;
  if (!a->gap_ns) want_out(a, 1);
  else
    set_timer(&timers, &a->timer,
              now_ns() + mix(O.seed * 7919 + a->stream) % (uint64_t)a->gap_ns); /* out of step with the others */
}

static size_t wrap(char *to, const char *bytes, size_t count) {
  int digits = sprintf(to, "%zx\r\n", count);
  memmove(to + digits, bytes, count);
  memcpy(to + digits + count, "\r\n", 2);
  return digits + count + 2;
}

static void note_message(struct answer *a, int last, size_t count) {
  struct record *r = record_of(a->stream);
  if (!r) return;
  if (atomic_load_explicit(&r->left_at, memory_order_relaxed)) {
    atomic_fetch_add_explicit(&r->wasted, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->wasted_bytes, count, memory_order_relaxed);
  }
  if (last) atomic_store(&r->finished, 1);
}

/* Says whether the stream goes on. The last message and the body's end leave together, as from most backends. */
static int next_message(struct answer *a) {
  static char message[MESSAGE_MAX + 1024];
  size_t count = write_message(message, (uint32_t)a->stream, a->seq);
  int last = (int)++a->seq >= a->chunks;
  size_t out = a->http10 ? (memcpy(tx, message, count), count) : wrap(tx, message, count);
  if (last && O.openai)
    out += a->http10 ? (memcpy(tx + out, OPENAI_END, strlen(OPENAI_END)), strlen(OPENAI_END))
                     : wrap(tx + out, OPENAI_END, strlen(OPENAI_END));
  if (last && !a->http10) out += sprintf(tx + out, "0\r\n\r\n");
  int64_t stream = a->stream;
  if (say(a, tx, out)) return 0;
  a->stream = stream;
  note_message(a, last, count);
  if (last) finish(a);
  return !last;
}

static void respond(struct answer *a) {
  char text[256];
  int count;
  switch (a->route) {
    case SMALL: answer_with(a, "200 OK", "text/plain", SMALL_BODY); break;
    case CANCEL_CALL: answer_with(a, "200 OK", "application/json", "{\"status\":\"cancelled\"}"); break;
    case ROLLBACK_CALL:
      if (!say(a, "HTTP/1.1 204 No Content\r\n\r\n", 27)) finish(a);
      break;
    case TAKE_UPLOAD:
      snprintf(text, sizeof text, "{\"bytes\":%ld}", (long)a->body_count);
      answer_with(a, "200 OK", "application/json", text);
      break;
    case BIG:
      a->big_left = (int64_t)query_number(a->query, "bytes", 1 << 20);
      a->phase = STREAM;
      count = snprintf(text, sizeof text,
                       "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %ld\r\n\r\n",
                       (long)a->big_left);
      if (!say(a, text, count)) want_out(a, 1);
      break;
    case CHAT:
      if (a->think_ns) set_timer(&timers, &a->timer, now_ns() + a->think_ns);
      else begin_stream(a);
      break;
    case BAD_BODY:
      a->close_after = 1;
      answer_with(a, "400 Bad Request", "text/plain", "bad body\n");
      break;
    default: answer_with(a, "404 Not Found", "text/plain", "not found\n");
  }
}

/* ---- requests */
static int body_is_whole(const struct answer *a) {
  size_t end = a->body_kept;
  while (end && isspace((unsigned char)a->body[end - 1])) end--;
  int expected = (int)query_number(a->query, "bl", -1);
  return end && a->body[0] == '{' && a->body[end - 1] == '}' &&
         (O.openai || expected < 0 || (size_t)expected == a->body_kept);
}

static void begin_chat(struct answer *a) {
  if (O.openai && a->body) {
    char *query = strchr(a->body, '&'), *id = strstr(a->body, "rid=req_"); /* a gateway mints a header of its own */
    if (query) snprintf(a->query, sizeof a->query, "%s", query);
    if (id) a->stream = strtoll(id + 8, NULL, 10);
  }
  if (!a->body || !body_is_whole(a)) {
    atomic_fetch_add(&bad_bodies, 1);
    a->route = BAD_BODY;
    return;
  }
  a->chunks = (int)query_number(a->query, "k", 100);
  a->gap_ns = (int64_t)(query_number(a->query, "t", 50) * MS);
  a->think_ns = (int64_t)(query_number(a->query, "think", 0) * MS);
  a->stall = (int)query_number(a->query, "stall", 0);
  a->seq = 0;
  a->under_way = 1;
  struct record *r = record_of(a->stream);
  int64_t never = 0;
  if (!r) {
    if (a->stream >= 0) atomic_fetch_add(&foreign_ids, 1);
    return;
  }
  atomic_compare_exchange_strong(&r->requested_at, &never, now_ns());
  if (!atomic_fetch_add(&r->requests, 1)) atomic_fetch_add(&streams_seen, 1);
}

static void note_admin_call(struct answer *a) {
  struct record *r = record_of(a->stream);
  int64_t never = 0;
  if (!r) {
    atomic_fetch_add(&foreign_ids, 1);
    return;
  }
  atomic_fetch_add(a->route == CANCEL_CALL ? &r->cancels : &r->rollbacks, 1);
  atomic_compare_exchange_strong(a->route == CANCEL_CALL ? &r->cancelled_at : &r->rolled_back_at, &never, now_ns());
}

static void request_is_in(struct answer *a) {
  a->phase = BUSY;
  atomic_fetch_add_explicit(&backend_requests, 1, memory_order_relaxed);
  if (a->route == CHAT) begin_chat(a);
  if (a->route == CANCEL_CALL || a->route == ROLLBACK_CALL) note_admin_call(a);
  free(a->body);
  a->body = NULL;
  a->body_kept = 0;
  respond(a);
}

static int64_t number_after(const char *text, const char *prefix) {
  size_t count = strlen(prefix);
  return strncmp(text, prefix, count) ? -1 : strtoll(text + count, NULL, 10);
}

static int ends_with(const char *text, const char *end) {
  size_t all = strlen(text), part = strlen(end);
  return all >= part && !strcmp(text + all - part, end);
}

static void find_route(struct answer *a, const char *method, const char *path) {
  int post = !strcmp(method, "POST");
  a->route = UNKNOWN;
  if (!strcmp(path, "/small")) a->route = SMALL;
  else if (!strcmp(path, "/big")) a->route = BIG;
  else if (!strcmp(path, "/upload")) a->route = TAKE_UPLOAD;
  else if (post && (ends_with(path, "/chat") || ends_with(path, "/chat/completions"))) a->route = CHAT;
  else if (post && !strncmp(path, "/admin/requests/", 16) && ends_with(path, "/cancel")) {
    a->route = CANCEL_CALL;
    a->stream = number_after(path + 16, "req_");
  } else if (!strcmp(method, "DELETE") && !strncmp(path, "/admin/conversations/", 21)) {
    a->route = ROLLBACK_CALL;
    a->stream = number_after(path + 21, "conv_");
  }
}

static void read_fields(struct answer *a, const char *from, const char *end) {
  size_t count;
  const char *value;
  a->body_left = (value = find_field(from, end, "content-length", &count)) ? atoll(value) : 0;
  value = find_field(from, end, "transfer-encoding", &count);
  a->chunked_in = value && has_token(value, count, "chunked");
  memset(&a->dechunker, 0, sizeof a->dechunker);
  a->close_after = a->http10;
  if ((value = find_field(from, end, "connection", &count))) {
    if (has_token(value, count, "close")) a->close_after = 1;
    else if (has_token(value, count, "keep-alive")) a->close_after = 0;
  }
  a->stream = (value = find_field(from, end, "x-request-id", &count)) ? number_after(value, "req_") : -1;
  if ((value = find_field(from, end, "expect", &count)) && has_token(value, count, "100-continue"))
    say(a, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

/* Says how many bytes the head took, 0 if it is not whole yet. */
static size_t take_head(struct answer *a, const char *bytes, size_t count) {
  char line[1024], *method = line, *target, *version, *query;
  const char *end = memmem(bytes, count, "\r\n\r\n", 4);
  if (!end) {
    if (count > HEAD_MAX) malformed(a);
    return 0;
  }
  size_t length = (const char *)memchr(bytes, '\r', count) - bytes;
  if (length >= sizeof line) return malformed(a), count;
  memcpy(line, bytes, length);
  line[length] = 0;
  if (!(target = strchr(line, ' ')) || !(version = strchr(target + 1, ' '))) return malformed(a), count;
  *target++ = *version++ = 0;
  if (!strncmp(target, "http://", 7)) target = strchr(target + 7, '/') ?: "/";
  if ((query = strchr(target, '?'))) *query++ = 0;
  snprintf(a->query, sizeof a->query, "%s", query ? query : "");
  a->http10 = !strcmp(version, "HTTP/1.0");
  a->body_count = 0;
  read_fields(a, bytes + length + 2, end + 2);
  find_route(a, method, target);
  a->phase = BODY;
  return end + 4 - bytes;
}

static void take_body(struct answer *a, const char *bytes, size_t count) {
  a->body_count += count;
  if (a->route != CHAT || a->body_kept + count > BODY_MAX) return;
  a->body = grown(a->body, a->body_kept + count + 1);
  memcpy(a->body + a->body_kept, bytes, count);
  a->body_kept += count;
  a->body[a->body_kept] = 0;
}

static size_t take_chunked(struct answer *a, const char *bytes, size_t count) {
  const char *data;
  size_t data_count, used = dechunk(&a->dechunker, bytes, count, &data, &data_count);
  if (data_count) take_body(a, data, data_count);
  if (a->dechunker.state == CHUNK_BAD) malformed(a);
  if (a->dechunker.state == CHUNK_END) request_is_in(a);
  return used;
}

static size_t take_counted(struct answer *a, const char *bytes, size_t count) {
  size_t part = count < (size_t)a->body_left ? count : (size_t)a->body_left;
  take_body(a, bytes, part);
  a->body_left -= part;
  if (!a->body_left) request_is_in(a);
  return part;
}

/* Says how many bytes were used; the rest waits until the answer under way is over. */
static size_t take(struct answer *a, const char *bytes, size_t count) {
  size_t used = 0;
  while (used < count && !a->dead) {
    if (a->phase == HEAD) {
      size_t head = take_head(a, bytes + used, count - used);
      if (!head) break;
      used += head;
      if (!a->dead && !a->chunked_in && !a->body_left) request_is_in(a);
    } else if (a->phase == BODY) {
      used += a->chunked_in ? take_chunked(a, bytes + used, count - used) : take_counted(a, bytes + used, count - used);
    } else {
      break;
    }
  }
  return used;
}

/* ---- events */
static void readable(struct answer *a) {
  size_t before = a->held_count;
  if (before > HELD_MAX) return;
  if (before) memcpy(rx, a->held, before);
  ssize_t count = recv(a->fd, rx + before, RX_SIZE, MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    gone(a);
    return;
  }
  a->held_count = 0;
  size_t all = before + count, used = take(a, rx, all);
  if (!a->dead && used < all) keep(a, rx + used, all - used);
}

static void pour(struct answer *a) {
  for (int64_t budget = TURN_BYTES; budget > 0 && a->big_left > 0 && !backed_up(a); budget -= 65536) {
    size_t part = a->big_left < 65536 ? a->big_left : 65536;
    if (say(a, filler(0, 0), part)) return;
    a->big_left -= part;
  }
  if (a->big_left || backed_up(a)) return;
  want_out(a, 0);
  finish(a);
}

static void race(struct answer *a) {
  for (int64_t budget = TURN_BYTES; budget > 0; budget -= O.size_hi) {
    if (!next_message(a)) {
      if (!a->dead && !backed_up(a)) want_out(a, 0);
      return;
    }
    if (backed_up(a)) return;
  }
}

static void writable(struct answer *a) {
  if (flush(a)) return;
  if (a->phase == STREAM && a->route == BIG) pour(a);
  else if (a->phase == STREAM && !a->gap_ns) race(a);
  else {
    if (a->phase == CLOSING) shutdown(a->fd, SHUT_WR);
    want_out(a, 0);
  }
}

static void timed(struct answer *a) {
  int64_t due = a->timer.due, now = now_ns();
  if (a->phase == BUSY) {
    begin_stream(a);
    return;
  }
  if (a->phase != STREAM) return;
  if (backed_up(a)) {
    set_timer(&timers, &a->timer, now + MS);
    return;
  }
  int64_t from = atomic_load(&window_from), to = atomic_load(&window_to);
  if (from && now >= from && (!to || now < to)) sample(&timer_late, now - due);
  if (next_message(a) && (int)a->seq != a->stall) set_timer(&timers, &a->timer, due + a->gap_ns);
}

static void accept_some(void) {
  for (int i = 0; i < 64; i++) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct answer *a = calloc(1, sizeof *a);
    if (!a) die("out of memory");
    a->fd = fd;
    a->stream = -1;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = a};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    atomic_fetch_add(&backend_connections, 1);
    atomic_fetch_add(&backend_open, 1);
  }
}

static void dispatch(const struct epoll_event *event) {
  struct answer *a = event->data.ptr;
  if (!a) {
    accept_some();
    return;
  }
  if (!a->dead && event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable(a);
  if (!a->dead && event->events & EPOLLOUT) writable(a);
  if (!a->dead && event->events & (EPOLLHUP | EPOLLERR)) gone(a);
}

void backend_listen(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(O.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1;
  listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096)) die("cannot listen on 127.0.0.1:%d", O.port);
}

void *backend_main(void *unused) {
  (void)unused;
  struct epoll_event accepting = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
  prctl(PR_SET_TIMERSLACK, 1);
  pthread_setname_np(pthread_self(), "rig-backend");
  epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &accepting);
  while (!atomic_load_explicit(&backend_stop, memory_order_relaxed)) {
    int ready = wait_events(epoll, events, 256, &timers, 50 * MS);
    for (int i = 0; i < ready; i++) dispatch(&events[i]);
    struct timer *timer;
    for (int i = 0; i < 256 && (timer = due_timer(&timers)); i++) timed((struct answer *)timer);
    while (dead_count) free(dead[--dead_count]);
  }
  return NULL;
}
