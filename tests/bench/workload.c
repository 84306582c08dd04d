/*
 * The texts around keys and values are made once, so that making a request or comparing
 * a reply is a few copies or comparisons: the servers must be the bottleneck, not this.
 */
#include "workload.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Values begin at this many places of the pool. It fits in a second-level cache. */
#define POOL_PLACES ((uint64_t)1 << 19)

#define ZIPFIAN_THETA 0.99

#define VALUES_SEED 1

struct text {
    char bytes[48];
    size_t length;
};

/* A request or a good reply: head, key, middle, value, tail; some have not all parts. */
struct frame {
    struct text head;
    bool has_key;
    struct text middle;
    bool has_value;
    struct text tail;
};

struct frames {
    struct frame set, get, set_reply, get_reply;
};

struct zipfian {
    double zeta, alpha, eta, half_power;
};

struct workload {
    struct workload_options options;
    struct frames frames;
    char *pool;
    struct zipfian zipfian;
    uint64_t random;
    uint64_t sequence;
};

/* Spread a number over all 64 bits, one to one. */
static uint64_t mix(uint64_t number)
{
    number ^= number >> 31;
    number *= UINT64_C(0x9fb21c651e98df25);
    number ^= number >> 29;
    number *= UINT64_C(0xd6e8feb86659fd93);
    return number ^ number >> 32;
}

static uint64_t next_random(struct workload *workload)
{
    workload->random += UINT64_C(0x9e3779b97f4a7c15);
    return mix(workload->random);
}

/* A number below a limit, from a random one: the high half of their product. */
static uint64_t scale(uint64_t random, uint64_t limit)
{
    return limit <= UINT32_MAX ? (random >> 32) * limit >> 32 : random % limit;
}

static struct text text_of(const char *string)
{
    struct text text = {.length = strlen(string)};
    memcpy(text.bytes, string, text.length);
    return text;
}

/* Text with the length of a value in it; the formats stand below and fit. */
static struct text text_with(const char *before, size_t number, const char *after)
{
    struct text text;
    text.length =
        (size_t)snprintf(text.bytes, sizeof text.bytes, "%s%zu%s", before, number, after);
    return text;
}

static struct frame frame_of(const char *head, struct text middle, const char *tail)
{
    return (struct frame){.head = text_of(head),
                          .has_key = true,
                          .middle = middle,
                          .has_value = tail != NULL,
                          .tail = text_of(tail != NULL ? tail : "")};
}

static struct frames frames_for(enum wire wire, size_t bytes)
{
    struct frames frames;
    memset(&frames, 0, sizeof frames);
    switch (wire) {
    case WIRE_KV:
        frames.set = frame_of("SET ", text_of(" "), "\n");
        frames.get = frame_of("GET ", text_of("\n"), NULL);
        frames.set_reply.head = text_of("success\n");
        frames.get_reply = frame_of("", text_of(""), "\n");
        frames.get_reply.has_key = false;
        break;
    case WIRE_RESP:
        frames.set = frame_of("*3\r\n$3\r\nSET\r\n$16\r\n",
                              text_with("\r\n$", bytes, "\r\n"), "\r\n");
        frames.get = frame_of("*2\r\n$3\r\nGET\r\n$16\r\n", text_of("\r\n"), NULL);
        frames.set_reply.head = text_of("+OK\r\n");
        frames.get_reply = frame_of("", text_with("$", bytes, "\r\n"), "\r\n");
        frames.get_reply.has_key = false;
        break;
    case WIRE_MEMCACHE:
        frames.set = frame_of("set ", text_with(" 0 0 ", bytes, "\r\n"), "\r\n");
        frames.get = frame_of("get ", text_of("\r\n"), NULL);
        frames.set_reply.head = text_of("STORED\r\n");
        frames.get_reply =
            frame_of("VALUE ", text_with(" 0 ", bytes, "\r\n"), "\r\nEND\r\n");
        break;
    }
    return frames;
}

/* Any 64 printable characters will do: six random bits choose one. */
static void fill_pool(struct workload *workload, size_t length)
{
    static const char characters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";
    workload->random = VALUES_SEED;
    for (size_t i = 0; i < length; i += 8) {
        uint64_t bits = next_random(workload);
        for (size_t j = i; j < i + 8 && j < length; j++) {
            workload->pool[j] = characters[bits & 63];
            bits >>= 6;
        }
    }
}

/* The constants of Gray et al., "Quickly generating billion-record synthetic databases".
 */
static struct zipfian zipfian_over(uint64_t count)
{
    struct zipfian zipfian = {.alpha = 1 / (1 - ZIPFIAN_THETA),
                              .half_power = pow(0.5, ZIPFIAN_THETA)};
    for (uint64_t i = 1; i <= count; i++) {
        zipfian.zeta += pow((double)i, -ZIPFIAN_THETA);
    }
    zipfian.eta = (1 - pow(2.0 / (double)count, 1 - ZIPFIAN_THETA)) /
                  (1 - (1 + zipfian.half_power) / zipfian.zeta);
    return zipfian;
}

static uint64_t zipfian_next(struct workload *workload)
{
    const struct zipfian *zipfian = &workload->zipfian;
    uint64_t count = workload->options.key_count;
    double uniform = (double)(next_random(workload) >> 11) * 0x1p-53;
    double scaled = uniform * zipfian->zeta;
    uint64_t rank = 0;
    if (scaled >= 1 + zipfian->half_power) {
        rank = (uint64_t)((double)count *
                          pow(zipfian->eta * uniform - zipfian->eta + 1, zipfian->alpha));
    } else if (scaled >= 1) {
        rank = 1;
    }
    /* A prime above any key count spreads the ranks one to one, but for multiples of it.
     */
    return (rank < count ? rank : count - 1) * UINT64_C(4294967311) % count;
}

struct workload *workload_create(const struct workload_options *options)
{
    struct workload *workload = calloc(1, sizeof *workload);
    if (workload == NULL) {
        return NULL;
    }
    workload->options = *options;
    workload->frames = frames_for((enum wire)options->wire, (size_t)options->value_bytes);
    size_t pool_length = (size_t)(POOL_PLACES + options->value_bytes);
    workload->pool = malloc(pool_length);
    if (workload->pool == NULL) {
        free(workload);
        return NULL;
    }
    fill_pool(workload, pool_length);
    if (options->order == ORDER_ZIPFIAN) {
        workload->zipfian = zipfian_over(options->key_count);
    }
    workload->random = mix(options->order_seed + 1);
    return workload;
}

size_t workload_operation_bytes_max(const struct workload *workload)
{
    return (size_t)workload->options.value_bytes + OVERHEAD_BYTES_MAX;
}

struct operation workload_next(struct workload *workload)
{
    const struct workload_options *options = &workload->options;
    struct operation operation = {.is_read = options->reads_percent == 100};
    switch ((enum order)options->order) {
    case ORDER_SEQUENTIAL:
        operation.key = workload->sequence++ % options->key_count;
        break;
    case ORDER_UNIFORM:
        operation.key = scale(next_random(workload), options->key_count);
        break;
    case ORDER_ZIPFIAN:
        operation.key = zipfian_next(workload);
        break;
    }
    if (options->reads_percent > 0 && options->reads_percent < 100) {
        operation.is_read = scale(next_random(workload), 100) < options->reads_percent;
    }
    return operation;
}

static void put_key(uint64_t key, char out[KEY_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    out[0] = 'k';
    for (size_t i = KEY_BYTES - 1; i > 0; i--) {
        out[i] = digits[key & 15];
        key >>= 4;
    }
}

static const char *value_of(const struct workload *workload, uint64_t key)
{
    return workload->pool + scale(mix(key + VALUES_SEED), POOL_PLACES);
}

static const struct frame *reply_frame(const struct workload *workload,
                                       const struct operation *operation)
{
    const struct frames *frames = &workload->frames;
    return operation->is_read ? &frames->get_reply : &frames->set_reply;
}

static char *append(char *out, const char *bytes, size_t length)
{
    memcpy(out, bytes, length);
    return out + length;
}

size_t workload_put_request(const struct workload *workload,
                            const struct operation *operation, char *out)
{
    const struct frames *frames = &workload->frames;
    const struct frame *frame = operation->is_read ? &frames->get : &frames->set;
    char *end = append(out, frame->head.bytes, frame->head.length);
    put_key(operation->key, end);
    end = append(end + KEY_BYTES, frame->middle.bytes, frame->middle.length);
    if (frame->has_value) {
        end = append(end, value_of(workload, operation->key),
                     (size_t)workload->options.value_bytes);
    }
    end = append(end, frame->tail.bytes, frame->tail.length);
    return (size_t)(end - out);
}

size_t workload_reply_bytes(const struct workload *workload,
                            const struct operation *operation)
{
    const struct frame *frame = reply_frame(workload, operation);
    return frame->head.length + (frame->has_key ? KEY_BYTES : 0) + frame->middle.length +
           (frame->has_value ? (size_t)workload->options.value_bytes : 0) +
           frame->tail.length;
}

/* Whether the text is next; the position moves behind it. */
static bool skip(const char **position, const char *bytes, size_t length)
{
    bool is_same = memcmp(*position, bytes, length) == 0;
    *position += length;
    return is_same;
}

bool workload_is_right(const struct workload *workload, const struct operation *operation,
                       const char *reply)
{
    const struct frame *frame = reply_frame(workload, operation);
    char key[KEY_BYTES];
    bool is_right = skip(&reply, frame->head.bytes, frame->head.length);
    if (frame->has_key) {
        put_key(operation->key, key);
        is_right = skip(&reply, key, sizeof key) && is_right;
    }
    is_right = skip(&reply, frame->middle.bytes, frame->middle.length) && is_right;
    if (frame->has_value) {
        is_right = skip(&reply, value_of(workload, operation->key),
                        (size_t)workload->options.value_bytes) &&
                   is_right;
    }
    return skip(&reply, frame->tail.bytes, frame->tail.length) && is_right;
}
