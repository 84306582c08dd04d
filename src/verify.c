/*
 * The scan of start-up without its consequences.
 */
#include "verify.h"

#include "diag.h"
#include "import.h"
#include "keydir.h"
#include "scan.h"

#include <inttypes.h>
#include <stdio.h>

struct findings {
    const char *format;
    uint64_t records;
    uint64_t seals;
    uint64_t end; /* of what is whole */
    const char *state;
    bool is_whole; /* nothing stands behind `end` */
};

static uint64_t count_records(struct slice records)
{
    uint64_t count = 0;
    struct record record;
    while (record_decode(records, &record)) {
        count += record_is_mark(&record) ? 0 : 1;
        records = slice_after(records, (size_t)record.length);
    }
    return count;
}

static const char *describe(enum tail tail)
{
    static const char *const states[] = {
        [TAIL_TORN] = "torn tail, never acknowledged; cut off at the next start",
        [TAIL_CORRUPT] = "corrupt",
        [TAIL_FOREIGN] = "corrupt: records without a seal",
    };
    return states[tail];
}

static enum status verify_sealed(struct keydir *keydir, const struct opening *opening,
                                 struct findings *findings)
{
    struct scan scan;
    struct batch batch;
    enum scan_result result;
    findings->format = "sealed";
    scan_begin(&scan, log_bytes(keydir->log), opening->log_id);
    while ((result = scan_next(&scan, &batch)) == SCAN_BATCH) {
        findings->seals++;
        findings->records += count_records(batch.records);
        enum status status = keydir_load(keydir, batch.records, batch.offset);
        if (status != KV_OK) {
            return status;
        }
    }
    findings->end = scan.offset;
    findings->is_whole = result == SCAN_END;
    if (findings->is_whole) {
        return KV_OK;
    }
    enum tail tail = scan_judge_tail(&scan);
    findings->state = describe(tail);
    return tail == TAIL_TORN ? KV_OK : KV_CORRUPT;
}

/* Without marks there is nothing to verify but that records are whole. */
static enum status verify_unmarked(struct keydir *keydir, struct findings *findings)
{
    struct slice bytes = log_bytes(keydir->log);
    struct record record;
    findings->format = "without marks";
    while (record_decode(slice_after(bytes, (size_t)findings->end), &record)) {
        findings->end += record.length;
    }
    struct slice records = slice_first(bytes, (size_t)findings->end);
    findings->records = count_records(records);
    findings->is_whole = findings->end == bytes.length;
    findings->state = "incomplete last record";
    return keydir_load(keydir, records, 0);
}

static enum status verify_bytes(struct keydir *keydir, struct findings *findings)
{
    uint64_t mark_offset = 0;
    struct opening opening;
    struct slice bytes = log_bytes(keydir->log);
    if (record_decode_opening(bytes, &opening)) {
        return verify_sealed(keydir, &opening, findings);
    }
    if (bytes.length == 0) {
        findings->format = "empty";
        findings->is_whole = true;
        return KV_OK;
    }
    if (!record_find_mark(bytes, 0, &mark_offset) && import_is_original(bytes)) {
        return verify_unmarked(keydir, findings);
    }
    bool has_mark = record_find_mark(bytes, 0, &mark_offset);
    findings->format = has_mark ? "sealed" : "unknown";
    findings->state =
        has_mark ? "corrupt: no intact opening record" : "not a kv-store log";
    return KV_CORRUPT;
}

static enum status print(const struct keydir *keydir, const struct findings *findings)
{
    uint64_t log_bytes_count = log_length(keydir->log);
    printf("format %s\n", findings->format);
    printf("log_bytes %" PRIu64 "\n", log_bytes_count);
    printf("records %" PRIu64 "\n", findings->records);
    printf("live_keys %" PRIu64 "\n", keydir->key_count);
    printf("dead_bytes %" PRIu64 "\n", findings->end - keydir->live_bytes);
    printf("seals %" PRIu64 "\n", findings->seals);
    if (findings->is_whole) {
        printf("damage none\n");
    } else {
        printf("damage at offset %" PRIu64 ", %" PRIu64 " bytes: %s\n", findings->end,
               log_bytes_count - findings->end, findings->state);
    }
    return fflush(stdout) == 0 && !ferror(stdout) ? KV_OK : KV_IO;
}

enum status verify_log(const char *path)
{
    struct files *files = NULL;
    struct log *log = NULL;
    struct keydir keydir = {0};
    struct findings findings = {0};
    enum status status = files_open(path, &files);
    if (status != KV_OK) {
        return status;
    }
    status = log_open(files, LOG_READ, &log);
    if (status == KV_NOT_FOUND) {
        diag_info("%s: there is no such log", path);
    }
    if (status == KV_OK) {
        status = keydir_init(&keydir, log);
    }
    if (status == KV_OK) {
        status = verify_bytes(&keydir, &findings);
        bool has_failed =
            log_has_failed_reads(log) || (status != KV_OK && status != KV_CORRUPT);
        if (has_failed) {
            diag_info("%s: a part of the log cannot be read: %s", path,
                      status_text(status));
            status = KV_IO;
        } else if (print(&keydir, &findings) != KV_OK) {
            diag_warn("cannot write the findings");
            status = KV_IO;
        }
    }
    keydir_destroy(&keydir);
    (void)log_close(log); /* nothing was written */
    files_close(files);
    return status;
}
