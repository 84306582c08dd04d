/*
 * What is armed to fail, and what has failed.
 */
#ifndef KV_WORLD_FAULTS_H
#define KV_WORLD_FAULTS_H

#include "world/plan.h"

/* What a refusal or an end may be explained by. */
struct hits {
    uint64_t space;
    uint64_t io;
    uint64_t memory;
    uint64_t network;
    uint64_t reads;   /* of a page, that failed */
    uint64_t touches; /* of the log, by another process */
    bool is_failing;  /* in a mark: reading did, whoever asked */
};

void faults_begin_run(void);
void faults_arm(const struct fault *fault);
void faults_clear(void);

/* The errno of the first armed fault that this call meets, or 0; cut_out: lowered. */
int faults_meet(enum call call, enum role role, size_t *cut_out);

/* How many calls of this kind there were in this run. */
uint64_t faults_met(enum call call);

/* A failure that comes from the state of the world, such as a full disk. */
void faults_note(enum call call, int error);

/* Another process has changed what is not its own. */
void faults_note_touch(void);

const struct hits *faults_hits(void);

/* Those and whatever was cut short, in one number that grows. */
uint64_t faults_hits_sum(void);

/* Since the program began, over all runs. */
uint64_t faults_total(enum call call);
uint64_t faults_total_cut(void);

#endif
