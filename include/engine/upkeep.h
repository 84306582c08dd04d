/*
 * Upkeep: what is due besides requests, and when. The delayed sync of --sync everysec,
 * the second seal of the last batch, the steps of a compaction, saving an image of the
 * index, making space ahead of the log.
 *
 * Each takes a bounded time and is done between commands, how much of it depends on the
 * leisure that clients leave. Whatever fails for good is noted here, and from then on
 * nothing touches the log any more.
 */
#ifndef KV_UPKEEP_H
#define KV_UPKEEP_H

#include "engine/ahead.h"
#include "engine/compact.h"
#include "file/waste.h"

struct snapshot_writer;
struct recovery;

/* How much time there is. */
enum leisure {
    LEISURE_NONE, /* values that were read must stay where they are: only sync and seal */
    LEISURE_SOME, /* commands are waiting: a share of the time */
    LEISURE_ALL   /* nobody is waiting */
};

/* When an image of the index is taken while commands go on, and in which pieces. */
struct image_pace {
    uint64_t growth_bytes_min; /* of the log, before the next is begun, ... */
    uint64_t growth_factor;    /* ... and so many times what it will take */
    uint64_t piece_bytes_min;
    uint64_t piece_bytes_max; /* synced whenever so much was written */
};

struct upkeep {
    struct transaction *transaction; /* borrowed; its commits write seals and copies */
    struct compaction compaction;
    struct {
        uint64_t earliest_us;   /* while commands are waiting */
        uint64_t retry_us;      /* after a failure; 0: none */
        uint64_t written_bytes; /* by commands since the last step */
    } pace;                     /* of the steps of a compaction and of an image */
    struct {
        struct snapshot_writer *writer; /* it is being taken; or NULL */
        uint64_t length;                /* what PATH.index covers; 0: there is none */
        uint64_t tried_length; /* of the log, when one was begun or given up last */
        struct image_pace pace;
        bool is_wanted; /* a compaction has ended since the last; there is one log */
        bool has_told;  /* why one was not saved, until one is */
    } image;
    struct waste waste; /* images that were replaced, removed or given up */
    struct ahead ahead;
    uint64_t sync_due_ms; /* CLOCK_NEVER: everything is durable */
    uint64_t seal_due_ms; /* when the last batch gets its second seal; CLOCK_NEVER */
    uint64_t look_due_ms; /* when the room on the disk is looked at again */
    bool has_failed;
};

/* Begin to look after what was recovered, of which nothing is staged. */
void upkeep_init(struct upkeep *upkeep, const struct files *files,
                 struct transaction *transaction, const struct recovery *recovery);

/*
 * Commit what is staged, which is not nothing; then it is known what is due for it.
 *
 * KV_NO_SPACE, KV_IO, KV_NO_MEMORY: everything was taken back.  KV_FATAL: stop.
 */
enum status upkeep_commit(struct upkeep *upkeep);

/* Make everything committed durable now. KV_FATAL: stop. */
enum status upkeep_sync(struct upkeep *upkeep);

/*
 * Begin a compaction, if none is running. Nothing is staged.
 *
 * KV_OK: one is running.  KV_NO_SPACE, KV_IO, KV_NO_MEMORY: it could not begin.
 * KV_CORRUPT: the last one is held up by damaged records.  KV_FATAL: stop.
 */
enum status upkeep_compact(struct upkeep *upkeep);

/* When upkeep_run has something to do next; CLOCK_NEVER if nothing is due. */
uint64_t upkeep_due_ms(const struct upkeep *upkeep, enum leisure leisure);

/* Do what is due, at most one step of it. Nothing is staged. KV_FATAL: stop. */
enum status upkeep_run(struct upkeep *upkeep, enum leisure leisure);

/*
 * At the end: the second seal, the space ahead cut off, and all of the image at once,
 * unless what there is says it all. KV_NO_SPACE: the last batch has one seal.  KV_IO,
 * KV_NO_MEMORY, KV_FATAL: reported.
 */
enum status upkeep_end(struct upkeep *upkeep);

#endif
