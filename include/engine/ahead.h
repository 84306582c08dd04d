/*
 * How much space ahead of the log (log.h) is worth making: decided by what commits and
 * the making of it were seen to take, so that nothing need be known about disks and file
 * systems. No clock and no file is touched here.
 *
 * A commit that is written over space ahead is compared with one of its size that was
 * appended. What it saves must outweigh the share that it has in the cost of making what
 * it uses up. It does for all but the largest batches where a journal is kept; it does
 * not where an overwrite goes to new blocks too (copy-on-write), where a sync costs
 * nothing (memory), or in a stream of batches so large that their bytes are what costs.
 * There, after a few pieces as a trial, none is made for a while, twice as long each
 * time. Where it pays, that is found out anew every minute, for which it is used up.
 *
 * Rejected: a list of file systems, which would be wrong for a disk behind a network or a
 * virtual machine, and cannot tell when batches are too large. Making it in the way of a
 * commit, for whose sync it could share: that commit's client would wait for it.
 */
#ifndef KV_AHEAD_H
#define KV_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Batches up to 4, 64 and 512 KiB; for larger ones no space is made. */
enum { AHEAD_SIZES = 3 };

/* The least that something took of a few times: others may have kept the disk busy. */
struct ahead_time {
    uint64_t least_us;
    uint64_t count;
};

enum ahead_verdict { AHEAD_UNKNOWN, AHEAD_PAYS, AHEAD_IN_VAIN };

struct ahead_size {
    struct ahead_time appended; /* these three since there was no verdict */
    struct ahead_time overwritten;
    uint64_t tried_bytes; /* made meanwhile */
    enum ahead_verdict verdict;
    uint64_t until_ms; /* as long as it holds */
    uint64_t wait_ms;  /* how long the last one in vain held */
};

/* All zero: nothing was seen yet. */
struct ahead {
    struct ahead_size sizes[AHEAD_SIZES];
    size_t size;             /* that of the last commit; AHEAD_SIZES: larger */
    uint64_t batch_bytes;    /* of the last commit */
    uint64_t piece_bytes;    /* of the next piece at most */
    bool was_slow;           /* the last one was, as such things go */
    struct ahead_time made;  /* a MiB of it */
    uint64_t window_ms;      /* when the present second began */
    uint64_t window_bytes;   /* committed in it */
    uint64_t previous_bytes; /* and in the one before */
    uint64_t retry_ms;       /* after a failure */
};

/* A durable commit, and whether all of it was written over space ahead. */
struct ahead_commit {
    uint64_t bytes;
    uint64_t us; /* what it took, sync and all */
    bool is_overwrite;
};

void ahead_note_commit(struct ahead *ahead, const struct ahead_commit *commit,
                       uint64_t now_ms);

/* A piece of so many bytes was made durable. */
void ahead_note_made(struct ahead *ahead, uint64_t bytes, uint64_t us);

/* There was no room, or it failed. */
void ahead_note_failed(struct ahead *ahead, uint64_t now_ms);

struct ahead_limits {
    uint64_t there_bytes;  /* what stands ahead */
    uint64_t kept_bytes;   /* to stay of it for a full disk, once it is known to pay */
    uint64_t usable_bytes; /* more will not be used up: a compaction cuts it off */
};

/* How large a piece shall be made now, a multiple of 16; 0: none. */
uint64_t ahead_wanted(const struct ahead *ahead, const struct ahead_limits *limits,
                      uint64_t now_ms);

#endif
