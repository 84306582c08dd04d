/*
 * Whether a call breaks a contract so that an assertion ends the program: the
 * call is made in a child process.
 */
#ifndef KV_TESTS_ABORTS_H
#define KV_TESTS_ABORTS_H

#include <stdbool.h>

/* Whether work(context) ends its process by SIGABRT. */
bool aborts(void (*work)(void *), void *context);

#endif
