/*
 * What the operator is told of a log while it is served, and no more often than once a
 * minute: a disk that fails or is full fails and works by turns.
 */
#ifndef KV_TOLD_H
#define KV_TOLD_H

#include "file/place.h"

/* A record is not served: it cannot be read, its checksum is wrong, its key is. */
enum record_fault { FAULT_LOST, FAULT_DAMAGED, FAULT_KEY, FAULT_COUNT };

/* When what was told of one log; all zero: nothing yet. Times are 0 for never. */
struct told {
    bool has_refused; /* that a write failed, and not yet that they work again */
    uint64_t refused_ms;
    uint64_t uncovered_ms;
    uint64_t fault_ms[FAULT_COUNT];
    uint64_t untold_faults[FAULT_COUNT]; /* since then */
};

/* The file cannot be mapped into memory, and errno says why. */
void told_not_mapped(const struct place *place);

/* A record at this offset is not served. Those that are passed over are counted. */
void told_fault(struct told *told, const struct place *place, enum record_fault fault,
                uint64_t offset);

/* The view of the log cannot grow beyond this offset; what fits into it goes on. */
void told_uncovered(struct told *told, const struct place *place, uint64_t offset);

/* A batch could not be appended at this offset, errno says why; one could again. */
void told_refused(struct told *told, const struct place *place, uint64_t offset);
void told_works_again(struct told *told, const struct place *place, uint64_t offset);

#endif
