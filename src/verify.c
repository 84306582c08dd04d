/*
 * The scan of start-up without its consequences.
 */
#include "verify.h"

#include "diag.h"
#include "logset.h"

#include <inttypes.h>
#include <stdio.h>

struct findings {
    const char *format;
    uint64_t log_bytes;
    uint64_t records;
    uint64_t seals;
    uint64_t end;      /* of what is whole in PATH */
    uint64_t left;     /* bytes behind it */
    const char *state; /* what to think of them */
};

static const char *describe(enum tail tail)
{
    static const char *const states[] = {
        [TAIL_TORN] = "torn tail, never acknowledged; cut off at the next start",
        [TAIL_CORRUPT] = "corrupt: it had been durable, or cannot be a torn tail",
        [TAIL_FOREIGN] = "corrupt: records without a seal",
    };
    return states[tail];
}

static enum status verify_sealed(const struct logset *set, struct keydir *keydir,
                                 struct findings *findings)
{
    struct logset_end end;
    findings->format = set->older == NULL ? "sealed" : "sealed, being compacted";
    enum status status = logset_load(set, keydir, &end);
    if (status != KV_OK) {
        return status;
    }
    findings->records = end.record_count;
    findings->seals = end.seal_count;
    findings->end = end.scan.offset;
    findings->left = log_length(set->log) - end.scan.offset;
    if (end.result == SCAN_END) {
        return KV_OK;
    }
    enum tail tail = scan_judge_tail(&end.scan);
    findings->state = describe(tail);
    return tail == TAIL_TORN ? KV_OK : KV_CORRUPT;
}

/* Without marks there is nothing to verify but that records are whole. */
static enum status verify_unmarked(const struct logset *set, struct keydir *keydir,
                                   struct findings *findings)
{
    struct slice bytes = log_bytes(set->log);
    struct record record;
    findings->format = "without marks";
    findings->state = "incomplete last record";
    while (record_decode(slice_after(bytes, (size_t)findings->end), &record)) {
        if (!record_is_within_limits(&record)) {
            findings->state = "a record over the limits of this program";
            findings->left = bytes.length - findings->end;
            return KV_CORRUPT;
        }
        findings->end += record.length;
    }
    findings->left = bytes.length - findings->end;
    enum status status = keydir_init(keydir, set->log);
    return status == KV_OK
               ? keydir_load(keydir, slice_first(bytes, (size_t)findings->end), 0,
                             &findings->records)
               : status;
}

static enum status verify_set(const struct logset *set, struct keydir *keydir,
                              struct findings *findings)
{
    findings->log_bytes = (set->log == NULL ? 0 : log_length(set->log)) +
                          (set->older == NULL ? 0 : log_length(set->older));
    switch (set->shape) {
    case LOGSET_SEALED:
        return verify_sealed(set, keydir, findings);
    case LOGSET_UNMARKED:
        return verify_unmarked(set, keydir, findings);
    case LOGSET_OLDER_ALONE:
        diag_info("%s: only " FILES_OLD
                  " is there, of a compaction that had just begun: start "
                  "the server once",
                  files_path(set->files));
        return KV_IO;
    case LOGSET_NONE:
        break;
    }
    diag_info("%s: there is no log", files_path(set->files));
    return KV_IO;
}

static enum status print(const struct keydir *keydir, const struct findings *findings)
{
    uint64_t live_bytes = keydir_live_bytes(keydir);
    printf("format %s\n", findings->format);
    printf("log_bytes %" PRIu64 "\n", findings->log_bytes);
    printf("records %" PRIu64 "\n", findings->records);
    printf("live_keys %" PRIu64 "\n", keydir->key_count);
    printf("dead_bytes %" PRIu64 "\n", findings->log_bytes - findings->left - live_bytes);
    printf("seals %" PRIu64 "\n", findings->seals);
    if (findings->left == 0) {
        printf("damage none\n");
    } else {
        printf("damage at offset %" PRIu64 ", %" PRIu64 " bytes: %s\n", findings->end,
               findings->left, findings->state);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        diag_warn("cannot write the findings");
        return KV_IO;
    }
    return KV_OK;
}

enum status verify_log(const char *path)
{
    struct files *files = NULL;
    struct logset set = {0};
    struct keydir keydir = {0};
    struct findings findings = {0};
    enum status status = files_open(path, &files);
    if (status == KV_OK) {
        status = logset_open(files, LOG_READ, &set);
    }
    if (status == KV_OK) {
        status = verify_set(&set, &keydir, &findings);
        /* What kept the set from being loaded was reported; else there are findings. */
        bool has_findings = status == KV_OK || findings.state != NULL;
        if (has_findings && print(&keydir, &findings) != KV_OK) {
            status = KV_IO;
        }
    }
    keydir_destroy(&keydir);
    logset_close(&set);
    files_close(files);
    return status;
}
