/* The floor: one thread that passes bytes on, as cheaply as Linux lets a process do it, and knows no HTTP.
 *
 *   floor LISTEN_PORT UPSTREAM_PORT
 *
 * Per readiness one recv() and one send(). A client's FIN or RST closes the upstream at once; the upstream's end is
 * passed on after what is pending.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct pair;
struct side {
  int fd, upstream;
  uint32_t watched;
  struct pair *pair;
  char *pending; /* to be sent to this side */
  size_t pending_at, pending_count;
};
struct pair {
  struct side sides[2];
  int dead, ended;
  struct pair *next;
};
static int epoll;
static struct sockaddr_in upstream;
static char rx[262144];
static struct pair *graveyard;

static void watch(struct side *side, uint32_t events) {
  if (side->watched == events) return;
  struct epoll_event event = {.events = events, .data.ptr = side};
  epoll_ctl(epoll, side->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, side->fd, &event);
  side->watched = events;
}

static void bury(struct pair *pair) {
  if (pair->dead) return;
  pair->dead = 1;
  for (int i = 0; i < 2; i++) {
    close(pair->sides[i].fd);
    free(pair->sides[i].pending);
  }
  pair->next = graveyard;
  graveyard = pair;
}

static int has_pending(const struct side *side) { return side->pending_at < side->pending_count; }

/* Bytes the kernel took, 0 if it takes none now or the pair is buried. */
static ssize_t push(struct side *side, const char *bytes, size_t count) {
  ssize_t sent = send(side->fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0) return sent;
  if (errno != EAGAIN && errno != EINTR) bury(side->pair);
  return 0;
}

static void drain(struct side *to, struct side *from) {
  to->pending_at += push(to, to->pending + to->pending_at, to->pending_count - to->pending_at);
  if (to->pair->dead || has_pending(to)) return;
  to->pending_at = to->pending_count = 0;
  if (to->pair->ended) {
    bury(to->pair);
    return;
  }
  watch(to, EPOLLIN | EPOLLRDHUP);
  watch(from, EPOLLIN | EPOLLRDHUP);
}

static void pump(struct side *from, struct side *to) {
  if (has_pending(to)) return;
  ssize_t count = recv(from->fd, rx, sizeof rx, MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    bury(from->pair);
    return;
  }
  ssize_t sent = push(to, rx, count);
  if (from->pair->dead || sent == count) return;
  to->pending = realloc(to->pending, count - sent);
  memcpy(to->pending, rx + sent, count - sent);
  to->pending_at = 0;
  to->pending_count = count - sent;
  watch(from, EPOLLRDHUP);
  watch(to, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
}

static void open_pair(int client) {
  int on = 1, server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct pair *pair = calloc(1, sizeof *pair);
  if (!pair || server < 0 || (connect(server, (void *)&upstream, sizeof upstream) && errno != EINPROGRESS)) {
    close(client);
    close(server);
    free(pair);
    return;
  }
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  pair->sides[0] = (struct side){.fd = client, .pair = pair};
  pair->sides[1] = (struct side){.fd = server, .upstream = 1, .pair = pair};
  watch(&pair->sides[0], EPOLLIN | EPOLLRDHUP);
  watch(&pair->sides[1], EPOLLIN | EPOLLRDHUP);
}

static void dispatch(struct side *side, uint32_t events) {
  struct pair *pair = side->pair;
  struct side *other = &pair->sides[!side->upstream];
  if (pair->dead) return;
  if (!side->upstream && events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    bury(pair); /* the client left */
    return;
  }
  if (events & EPOLLOUT) drain(side, other);
  if (!pair->dead && events & EPOLLIN) pump(side, other);
  if (pair->dead) return;
  if (events & (EPOLLHUP | EPOLLERR)) bury(pair);
  else if (events & EPOLLRDHUP && !(events & EPOLLIN)) {
    if (has_pending(other)) pair->ended = 1;
    else bury(pair);
  }
}

static int listen_on(int port) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096)) {
    perror("floor: listen");
    exit(1);
  }
  return listener;
}

int main(int argc, char **argv) {
  struct epoll_event accepting = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
  struct rlimit limit;
  if (argc != 3) return 2;
  upstream = (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  signal(SIGPIPE, SIG_IGN);
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  int listener = listen_on(atoi(argv[1]));
  epoll = epoll_create1(0);
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &accepting);
  for (;;) {
    int ready = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.ptr) {
        dispatch(events[i].data.ptr, events[i].events);
        continue;
      }
      for (int client, k = 0; k < 64 && (client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0; k++)
        open_pair(client);
    }
    for (struct pair *pair; (pair = graveyard); free(pair)) graveyard = pair->next;
  }
}
