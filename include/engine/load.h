/*
 * Filling a key directory with the records of its current log, in order.
 *
 * Records are collected and put into the index one part of it at a time: a part fits
 * the caches, all of it does not.
 */
#ifndef KV_LOAD_H
#define KV_LOAD_H

#include "engine/keydir.h"
#include "log/scan.h"

/* What was taken in; raised by each load. */
struct load_counts {
    uint64_t seals;
    uint64_t records;
    uint64_t marks; /* among the records; in a log without marks, those of empty keys */
    uint64_t replaced_unseen; /* records of an image, damaged or not to be read */
};

/*
 * Put the batches from the scan on into the index; what it has already is from an image
 * of what is before the scan. A damaged record there is replaced as it was while serving:
 * a client mends it so. Goes up to the log's end or its first damage, where the scan is
 * left to stand. Tells its progress.
 *
 * scan: of the current log of the key directory.
 * KV_NO_MEMORY, KV_CORRUPT, KV_IO: a part of them was put in.
 */
enum status load_log(struct keydir *keydir, struct scan *scan,
                     struct load_counts *counts);

#endif
