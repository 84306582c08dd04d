/*
 * The clock is asked first, which costs next to nothing; the count of reads only then.
 */
#include "file/waits.h"

#include "base/clock.h"
#include "base/platform.h"

/*
 * Less than a disk takes for one read, and more than memory does for some tens of small
 * records.
 */
#define DISK_READ_US_MIN UINT64_C(64)

void waits_begin(struct waits *waits)
{
    waits->since_us = clock_now_us();
}

bool waits_end(struct waits *waits)
{
    if (clock_now_us() - waits->since_us < DISK_READ_US_MIN) {
        return false;
    }
    long before = waits->blocks_read;
    waits->blocks_read = kv_blocks_read();
    return waits->blocks_read != before;
}
