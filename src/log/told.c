/*
 * The words, and when the same ones were last said.
 */
#include "log/told.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/diag.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void told_not_mapped(const struct place *place)
{
    if (errno == ENODEV) {
        diag_errorx(
            "%s%s: lies on a file system that lets no file be mapped into memory; "
            "it is not used",
            files_path(place->files), place->suffix);
    } else {
        (void)place_tell(place, KV_IO, "cannot map the log; it is not used");
    }
}

void told_fault(struct told *told, const struct place *place, enum record_fault fault,
                uint64_t offset)
{
    const char *path = files_path(place->files);
    uint64_t untold_count = told->untold_faults[fault]++;
    if (!clock_is_due(&told->fault_ms[fault], LOG_MESSAGE_MS)) {
        return;
    }
    if (untold_count > 0) {
        diag_errorx("%s%s: %" PRIu64 " reads more failed like the one told last", path,
                    place->suffix, untold_count);
    }
    told->untold_faults[fault] = 0;
    if (fault == FAULT_KEY) {
        diag_errorx("%s%s: the key of the record at offset %" PRIu64
                    " is damaged; it is not listed",
                    path, place->suffix, offset);
    } else {
        diag_errorx("%s%s: the record at offset %" PRIu64 " %s; it is not served", path,
                    place->suffix, offset,
                    fault == FAULT_LOST ? "cannot be read"
                                        : "is damaged, its checksum is wrong");
    }
}

void told_uncovered(struct told *told, const struct place *place, uint64_t offset)
{
    if (clock_is_due(&told->uncovered_ms, LOG_MESSAGE_MS)) {
        diag_error("%s: no address space for the log beyond offset %" PRIu64
                   "; what does not fit is refused",
                   files_path(place->files), offset);
    }
}

void told_refused(struct told *told, const struct place *place, uint64_t offset)
{
    if (told->has_refused || !clock_is_due(&told->refused_ms, LOG_MESSAGE_MS)) {
        return;
    }
    told->has_refused = true;
    if (strcmp(place->suffix, FILES_NEW) == 0) { /* no client waits for an answer */
        diag_error("%s" FILES_NEW ": cannot append at offset %" PRIu64
                   "; no new log is made",
                   files_path(place->files), offset);
    } else {
        diag_error("%s: cannot append at offset %" PRIu64 ", batch refused",
                   files_path(place->files), offset);
    }
}

void told_works_again(struct told *told, const struct place *place, uint64_t offset)
{
    if (told->has_refused) {
        diag_info("%s: appending works again at offset %" PRIu64,
                  files_path(place->files), offset);
        told->has_refused = false;
    }
}
