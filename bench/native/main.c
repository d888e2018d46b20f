/* Reads the options, starts the two ends. See usage(). */
#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "rig.h"

struct options O = {.label = "direct",
                    .when = "mid",
                    .how = "fin",
                    .path = "/api/ai-coach/chat",
                    .expect = "",
                    .port = 21080,
                    .streams = 200,
                    .connections = 16,
                    .size_lo = 64,
                    .size_hi = 64,
                    .body = 256,
                    .stall = 3,
                    .window_s = 3,
                    .warm_s = 0.5,
                    .ramp_s = -1,
                    .limit_s = 20,
                    .wait_s = 5,
                    .close_lo_s = 0.1,
                    .close_hi_s = 1.6,
                    .gap_ms = 50,
                    .seed = 1};
struct record *records;
static const char *const NAMES[SCENARIOS] = {"rate",   "newconn", "turns", "streams", "bulk",
                                             "upload", "cancel",  "idle",  "serve"};

struct record *record_of(int64_t stream) {
  int64_t i = stream - (int64_t)O.id_base;
  return i >= 0 && i < STREAMS_MAX ? &records[i] : NULL;
}

static void usage(void) {
  fprintf(
      stderr,
      "usage: rig SCENARIO [options]\n"
      "  rate, newconn     GET /small, on kept connections or one each    turns   chat turns of --chunks, one after "
      "the other\n"
      "  streams           --streams N, paced                             bulk, upload  as fast as they go\n"
      "  cancel            clients that leave                             idle    streams on which nothing happens\n"
      "  serve             only the backend\n"
      "  --target HOST:PORT  the proxy (default: the backend itself)      --port P  the backend's (21080)\n"
      "  --pid P[,P]         the proxy's processes (children are found)   --label L --seed N --limit S\n"
      "  --connections C --streams N --chunks K --gap MS --size BYTES|LO-HI --think MS --body BYTES --path PATH\n"
      "  --window S --warm S --ramp S --openai --existing (turns in a conversation that is there)\n"
      "  --when think|mid|stall|any --how fin|rst --close-lo S --close-hi S --stall K --wait S --expect "
      "cancel,rollback\n");
  exit(2);
}

static void parse_size(const char *text) {
  char *rest;
  O.size_lo = O.size_hi = (int)strtol(text, &rest, 10);
  if (*rest == '-') O.size_hi = (int)strtol(rest + 1, &rest, 10);
  if (*rest || O.size_lo < MESSAGE_MIN || O.size_hi < O.size_lo || O.size_hi > MESSAGE_MAX)
    die("--size %s: %d to %d bytes", text, MESSAGE_MIN, MESSAGE_MAX);
}

static void parse_target(const char *text) {
  char host[64], *colon;
  snprintf(host, sizeof host, "%s", text);
  if (!(colon = strrchr(host, ':'))) usage();
  *colon = 0;
  if (inet_pton(AF_INET, host, &O.target.sin_addr) != 1) usage();
  O.target.sin_port = htons(atoi(colon + 1));
}

enum {
  TARGET = 256,
  PORT,
  PID,
  LABEL,
  SEED,
  LIMIT,
  CONNECTIONS,
  STREAMS_N,
  CHUNKS,
  GAP,
  SIZE,
  THINK,
  BODY_N,
  PATH,
  WINDOW,
  WARM,
  RAMP,
  OPENAI,
  EXISTING,
  WHEN,
  HOW,
  CLOSE_LO,
  CLOSE_HI,
  STALL,
  WAIT,
  EXPECT
};
static const struct option OPTIONS[] = {{"target", 1, 0, TARGET},
                                        {"port", 1, 0, PORT},
                                        {"pid", 1, 0, PID},
                                        {"label", 1, 0, LABEL},
                                        {"seed", 1, 0, SEED},
                                        {"limit", 1, 0, LIMIT},
                                        {"connections", 1, 0, CONNECTIONS},
                                        {"streams", 1, 0, STREAMS_N},
                                        {"chunks", 1, 0, CHUNKS},
                                        {"gap", 1, 0, GAP},
                                        {"size", 1, 0, SIZE},
                                        {"think", 1, 0, THINK},
                                        {"body", 1, 0, BODY_N},
                                        {"path", 1, 0, PATH},
                                        {"window", 1, 0, WINDOW},
                                        {"warm", 1, 0, WARM},
                                        {"ramp", 1, 0, RAMP},
                                        {"openai", 0, 0, OPENAI},
                                        {"existing", 0, 0, EXISTING},
                                        {"when", 1, 0, WHEN},
                                        {"how", 1, 0, HOW},
                                        {"close-lo", 1, 0, CLOSE_LO},
                                        {"close-hi", 1, 0, CLOSE_HI},
                                        {"stall", 1, 0, STALL},
                                        {"wait", 1, 0, WAIT},
                                        {"expect", 1, 0, EXPECT},
                                        {0}};

static void take_option(int option) {
  switch (option) {
    case TARGET: parse_target(optarg); break;
    case PORT: O.port = atoi(optarg); break;
    case PID: O.pids = optarg; break;
    case LABEL: O.label = optarg; break;
    case SEED: O.seed = strtoull(optarg, NULL, 10); break;
    case LIMIT: O.limit_s = atof(optarg); break;
    case CONNECTIONS: O.connections = atoi(optarg); break;
    case STREAMS_N: O.streams = atoi(optarg); break;
    case CHUNKS: O.chunks = atoi(optarg); break;
    case GAP: O.gap_ms = atof(optarg); break;
    case SIZE: parse_size(optarg); break;
    case THINK: O.think_ms = atof(optarg); break;
    case BODY_N: O.body = atoi(optarg) < BODY_MAX ? atoi(optarg) : BODY_MAX; break;
    case PATH: O.path = optarg; break;
    case WINDOW: O.window_s = atof(optarg); break;
    case WARM: O.warm_s = atof(optarg); break;
    case RAMP: O.ramp_s = atof(optarg); break;
    case OPENAI: O.openai = 1; break;
    case EXISTING: O.existing = 1; break;
    case WHEN: O.when = optarg; break;
    case HOW: O.how = optarg; break;
    case CLOSE_LO: O.close_lo_s = atof(optarg); break;
    case CLOSE_HI: O.close_hi_s = atof(optarg); break;
    case STALL: O.stall = atoi(optarg); break;
    case WAIT: O.wait_s = atof(optarg); break;
    case EXPECT: O.expect = optarg; break;
    default: usage();
  }
}

/* What follows from the scenario where it was not said. */
static void complete_options(void) {
  if (O.ramp_s < 0) O.ramp_s = O.streams < 100 ? 0.2 : O.streams / 500.0;
  if (!O.chunks && O.scenario == TURNS) O.chunks = 5;
  if (!O.chunks && O.scenario == UPLOAD) O.chunks = 1024;
  if (!O.chunks && O.scenario == STREAMS) O.chunks = (int)((O.ramp_s + 2 + O.window_s) * 1000 / O.gap_ms) + 2;
  if (!O.chunks && O.scenario == CANCEL) O.chunks = (int)(30000 / O.gap_ms);
  if (!O.chunks) O.chunks = 2000000000;
  if ((O.scenario == IDLE || O.scenario == CANCEL) && !strcmp(O.when, "think") && !O.think_ms) O.think_ms = 600000;
  struct timespec day;
  clock_gettime(CLOCK_REALTIME, &day);
  O.id_base = (uint32_t)(day.tv_sec % 14000) * 300000u; /* a journal under test has not seen these ids before */
}

static void raise_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  int many = O.scenario == STREAMS || O.scenario == CANCEL || O.scenario == IDLE,
      needed = 2 * (many ? O.streams : O.connections) + 40;
  if ((rlim_t)needed > limit.rlim_cur) die("%d descriptors are needed, the limit is %ld", needed, (long)limit.rlim_cur);
}

int main(int argc, char **argv) {
  int option;
  O.target = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  O.scenario = SCENARIOS;
  for (int i = 0; argc > 1 && i < SCENARIOS; i++)
    if (!strcmp(argv[1], NAMES[i])) O.scenario = i;
  if (O.scenario == SCENARIOS) usage();
  argv[1] = argv[0];
  while ((option = getopt_long(argc - 1, argv + 1, "", OPTIONS, NULL)) != -1) take_option(option);
  if (!O.target.sin_port) O.target.sin_port = htons(O.port);
  complete_options();
  raise_limit();
  signal(SIGPIPE, SIG_IGN);
  if (!(records = calloc(STREAMS_MAX, sizeof *records))) die("out of memory");
  prepare_filler();
  if (O.pids) account_for(O.pids);
  backend_listen();
  pthread_create(&backend_thread, NULL, backend_main, NULL);
  if (O.scenario == SERVE) {
    fprintf(stderr, "backend on 127.0.0.1:%d\n", O.port);
    pthread_join(backend_thread, NULL);
  }
  pthread_create(&load_thread, NULL, scenario_main, NULL);
  pthread_join(load_thread, NULL);
  atomic_store(&backend_stop, 1);
  pthread_join(backend_thread, NULL);
  return 0;
}
