/*
 * The scan of start-up without its consequences.
 */
#include "offline/verify.h"

#include "base/diag.h"
#include "offline/reading.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static const char *describe(enum tail tail)
{
    static const char *const texts[] = {
        [TAIL_TORN] = "torn tail, never acknowledged; cut off at the next start",
        [TAIL_CORRUPT] = "corrupt: it had been durable, or cannot be a torn tail",
        [TAIL_FOREIGN] = "corrupt: records without a seal",
    };
    return texts[tail];
}

static const char *describe_format(const struct logset *set)
{
    if (!set->has_marks) {
        return "without marks";
    }
    return set->older == NULL ? "sealed" : "sealed, being compacted";
}

/* Print the findings; what is behind the last whole batch decides the outcome. */
static enum status print(const struct reading *reading)
{
    const struct logset *set = &reading->set;
    const struct scan *scan = &reading->found.scan;
    enum tail tail;
    enum status status = logset_judge_tail(set->log, scan, &tail);
    if (status != KV_OK) {
        return status;
    }
    uint64_t older_bytes = set->older == NULL ? 0 : log_length(set->older);
    uint64_t whole_bytes = scan->offset + older_bytes;
    uint64_t left = scan->log.length - scan->offset;
    uint64_t reserve_bytes = tail == TAIL_AHEAD ? left : 0;
    printf("format %s\n", describe_format(set));
    printf("log_bytes %" PRIu64 "\n", whole_bytes + left - reserve_bytes);
    printf("records %" PRIu64 "\n", reading->found.counts.records);
    printf("live_keys %" PRIu64 "\n", reading->keydir.key_count);
    printf("dead_bytes %" PRIu64 "\n", whole_bytes - reading->keydir.live_bytes);
    printf("seals %" PRIu64 "\n", reading->found.counts.seals);
    printf("reserve_bytes %" PRIu64 "\n", reserve_bytes);
    if (left == reserve_bytes) {
        printf("damage none\n");
    } else {
        printf("damage at offset %" PRIu64 ", %" PRIu64 " bytes: %s\n", scan->offset,
               left, describe(tail));
    }
    /* A reader that has gone has seen enough, and the outcome is what it was to be. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && errno != EPIPE) {
        diag_error("standard output: cannot write the findings; giving up");
        return KV_IO;
    }
    return tail == TAIL_TORN || tail == TAIL_AHEAD ? KV_OK : KV_CORRUPT;
}

enum status verify_log(const char *path)
{
    struct reading reading;
    enum status status = reading_open(path, true, &reading);
    if (status == KV_OK) {
        status = print(&reading);
    }
    reading_close(&reading);
    return status;
}
