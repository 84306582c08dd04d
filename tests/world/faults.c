/*
 * A short list that is gone through at each call.
 */
#include "world/faults.h"

#include "world/mappings.h"

#include <errno.h>
#include <string.h>

enum { ARMED_MAX = 16 };

static struct fault armed[ARMED_MAX];
static size_t armed_count;
static struct hits hits;
static uint64_t met[CALL_COUNT];
static uint64_t totals[CALL_COUNT];
static uint64_t total_cut;

void faults_begin_run(void)
{
    armed_count = 0;
    hits = (struct hits){0};
    memset(met, 0, sizeof met);
}

void faults_arm(const struct fault *fault)
{
    if (armed_count < ARMED_MAX) {
        armed[armed_count++] = *fault;
    }
}

void faults_clear(void)
{
    armed_count = 0;
    mappings_mend();
}

static bool is_network(enum call call)
{
    return call == CALL_ACCEPT || call == CALL_RECV || call == CALL_SEND ||
           call == CALL_SHUTDOWN || call == CALL_POLL;
}

void faults_note(enum call call, int error)
{
    totals[call]++;
    hits.reads += call == CALL_READ ? 1 : 0;
    if (error == EINTR) {
        return; /* nobody may notice */
    }
    if (is_network(call)) {
        hits.network++;
    } else if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
        hits.space++;
    } else if (error == ENOMEM) {
        hits.memory++;
    } else {
        hits.io++;
    }
}

void faults_note_touch(void)
{
    hits.touches++;
    hits.io++; /* and what the server says of it is right */
}

/* Whether it is its turn; one that has had it is forgotten. */
static bool takes_turn(size_t at)
{
    struct fault *fault = &armed[at];
    if (fault->nth > 1) {
        fault->nth--;
        return false;
    }
    if (!fault->is_sticky) {
        armed[at] = armed[--armed_count];
    }
    return true;
}

int faults_meet(enum call call, enum role role, size_t *cut_out)
{
    met[call]++;
    for (size_t i = 0; i < armed_count; i++) {
        struct fault fault = armed[i];
        if (fault.call != call || (fault.role != ROLE_ANY && fault.role != role) ||
            !takes_turn(i)) {
            continue;
        }
        if (fault.error != 0) {
            faults_note(call, fault.error);
            return fault.error;
        }
        total_cut++;
        *cut_out = fault.bytes < *cut_out ? (size_t)fault.bytes : *cut_out;
        return 0;
    }
    return 0;
}

uint64_t faults_hits_sum(void)
{
    return hits.io + hits.space + total_cut;
}

const struct hits *faults_hits(void)
{
    return &hits;
}

uint64_t faults_met(enum call call)
{
    return met[call];
}

uint64_t faults_total(enum call call)
{
    return totals[call];
}

uint64_t faults_total_cut(void)
{
    return total_cut;
}
