/* Chunked coding, header fields, and the messages that a chat stream is made of.
 *
 * A message is '@', when it was handed to the kernel (ns, modulo 2^48), its stream and its number in it, a filler that
 * both ends can work out, and a newline. So every byte that arrives can be judged: lost, out of place, or changed.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "rig.h"

static void size_byte(struct dechunker *d, char byte) {
  if (byte == '\n') {
    d->state = !d->digits ? CHUNK_BAD : d->left ? CHUNK_DATA : CHUNK_TRAILER;
    d->line = 0;
  } else if (byte == ';' || byte == ' ') {
    d->extension = 1;
  } else if (byte != '\r' && !d->extension) {
    if (!isxdigit((unsigned char)byte)) {
      d->state = CHUNK_BAD;
      return;
    }
    d->left = d->left * 16 + (byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10);
    d->digits = 1;
  }
}

/* Takes bytes up to the end of the next piece of data; says how many it took, and where the data lies. */
size_t dechunk(struct dechunker *d, const char *bytes, size_t count, const char **data, size_t *data_count) {
  *data_count = 0;
  for (size_t i = 0; i < count; i++) {
    char byte = bytes[i];
    switch (d->state) {
      case CHUNK_SIZE: size_byte(d, byte); break;
      case CHUNK_DATA: {
        size_t part = count - i < (size_t)d->left ? count - i : (size_t)d->left;
        *data = bytes + i;
        *data_count = part;
        d->left -= part;
        if (!d->left) d->state = CHUNK_CRLF;
        return i + part;
      }
      case CHUNK_CRLF:
        if (byte == '\n') memset(d, 0, sizeof *d);
        else if (byte != '\r') d->state = CHUNK_BAD;
        break;
      case CHUNK_TRAILER:
        if (byte == '\n' && !d->line) {
          d->state = CHUNK_END;
          return i + 1;
        }
        if (byte == '\n') d->line = 0;
        else if (byte != '\r') d->line++;
        break;
      default: return i;
    }
  }
  return count;
}

const char *find_field(const char *head, const char *end, const char *name, size_t *count) {
  size_t name_count = strlen(name);
  for (const char *line = head, *next; line < end; line = next) {
    const char *newline = memchr(line, '\n', end - line);
    next = newline ? newline + 1 : end;
    if ((size_t)(next - line) <= name_count || line[name_count] != ':' || strncasecmp(line, name, name_count)) continue;
    const char *value = line + name_count + 1, *stop = newline ? newline : end;
    while (value < stop && (*value == ' ' || *value == '\t')) value++;
    while (stop > value && (stop[-1] == '\r' || stop[-1] == ' ')) stop--;
    *count = stop - value;
    return value;
  }
  return NULL;
}

int has_token(const char *value, size_t count, const char *token) {
  size_t length = strlen(token);
  for (size_t i = 0; i + length <= count; i++)
    if (!strncasecmp(value + i, token, length)) return 1;
  return 0;
}

double query_number(const char *query, const char *name, double otherwise) {
  size_t length = strlen(name);
  for (const char *at = query; *at; at++)
    if (!strncmp(at, name, length) && at[length] == '=' && (at == query || at[-1] == '&')) return atof(at + length + 1);
  return otherwise;
}

/* ---- messages */
static const char DIGITS[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
static const char OPENAI_BEGIN[] =
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\","
    "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"";
static const char OPENAI_CLOSE[] = "\"},\"finish_reason\":null}]}\n\n";
const char OPENAI_END[] =
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\","
    "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
#define SEQ_MASK 0x3FFFF
#define TIME_MASK 0xFFFFFFFFFFFFLL
static char *alphabet;
static signed char value_of[256];

void prepare_filler(void) {
  alphabet = grown(NULL, MESSAGE_MAX + 64);
  for (int i = 0; i < MESSAGE_MAX + 64; i++) alphabet[i] = 'a' + i % 26;
  memset(value_of, -1, sizeof value_of);
  for (int i = 0; i < 64; i++) value_of[(unsigned char)DIGITS[i]] = i;
}

const char *filler(uint32_t stream, uint32_t seq) {
  return alphabet + ((uint64_t)stream * 7 + (uint64_t)seq * 13) % 26;
}

int message_size(uint32_t stream, uint32_t seq) {
  if (O.size_lo == O.size_hi) return O.size_lo;
  return O.size_lo + mix(O.seed ^ ((uint64_t)stream << 32 | (seq & SEQ_MASK))) % (O.size_hi - O.size_lo + 1);
}

static void put_digits(char *to, uint64_t value, int digits) {
  for (int i = digits - 1; i >= 0; i--, value >>= 6) to[i] = DIGITS[value & 63];
}

static int64_t get_digits(const char *from, int digits) {
  int64_t value = 0;
  for (int i = 0; i < digits; i++) {
    if (value_of[(unsigned char)from[i]] < 0) return -1;
    value = value << 6 | value_of[(unsigned char)from[i]];
  }
  return value;
}

/* Stamped last, right before it is sent. Returns its length. */
size_t write_message(char *to, uint32_t stream, uint32_t seq) {
  int size = message_size(stream, seq);
  char *at = to;
  if (O.openai) at = mempcpy(at, OPENAI_BEGIN, sizeof OPENAI_BEGIN - 1);
  char *head = at;
  *at = '@';
  put_digits(at + 9, stream & SEQ_MASK, 3);
  put_digits(at + 12, seq & SEQ_MASK, 3);
  at = mempcpy(at + MESSAGE_HEAD, filler(stream, seq), size - MESSAGE_HEAD - 1);
  if (O.openai) at = mempcpy(at, OPENAI_CLOSE, sizeof OPENAI_CLOSE - 1);
  else *at++ = '\n';
  put_digits(head + 1, now_ns() & TIME_MASK, 8);
  return at - to;
}

/* Says 0 if it is no head of this stream. */
int read_head(const char *head, uint32_t stream, int64_t *stamp_ns, uint32_t *seq) {
  int64_t stamp = get_digits(head + 1, 8), from = get_digits(head + 9, 3), number = get_digits(head + 12, 3);
  if (head[0] != '@' || stamp < 0 || from != (stream & SEQ_MASK) || number < 0) return 0;
  int64_t now = now_ns();
  *stamp_ns = now - ((now - stamp) & TIME_MASK);
  *seq = (*seq & ~(uint32_t)SEQ_MASK) | (uint32_t)number;
  return 1;
}
