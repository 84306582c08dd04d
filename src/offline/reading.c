/*
 * Start-up without its consequences.
 */
#include "offline/reading.h"

#include "base/diag.h"

enum status reading_open(const char *path, bool counts_all, struct reading *reading_out)
{
    struct reading *reading = reading_out;
    *reading = (struct reading){0};
    enum status status = files_open_to_read(path, &reading->files);
    if (status == KV_OK) {
        status = logset_open(reading->files, LOG_READ, &reading->set);
    }
    if (status == KV_OK && reading->set.log == NULL) {
        diag_errorx("%s: there is no log, or an empty file; nothing was read", path);
        status = KV_IO;
    }
    if (status == KV_OK) {
        reading->set.may_use_image = !counts_all;
        status = recover_fill(&reading->set, &reading->keydir, &reading->found);
    }
    if (status == KV_NO_MEMORY) {
        diag_errorx("%s: not enough memory to read it; giving up", path);
    }
    return status;
}

void reading_close(struct reading *reading)
{
    keydir_destroy(&reading->keydir);
    logset_close(&reading->set);
    files_close(reading->files);
}
