/*
 * POSIX has no call that makes a stack, but for signals: a handler on an alternate stack
 * notes where it is and leaves by a jump; whatever is begun on that stack later begins
 * there. From then on a jump leads from one stack to the other.
 */
#define _DEFAULT_SOURCE /* sigaltstack */
#undef _FORTIFY_SOURCE  /* it knows of one stack alone, on which jumps lead upwards */
#include "world/stack.h"

#include "world/memory.h"
#include "world/plan.h"

#include <setjmp.h>
#include <signal.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef HAS_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK_BYTES = 512 << 10 };

int __real_sigaction(int number, const struct sigaction *action, struct sigaction *old);
int __real_raise(int number);

struct stack {
    bool is_made;
    jmp_buf bottom; /* where functions are begun */
    jmp_buf top;    /* where the last one paused */
    void *fake;     /* what a sanitizer keeps of it */
};

static alignas(64) unsigned char memory[CLIENTS_MAX][STACK_BYTES];
static struct stack stacks[CLIENTS_MAX];
static struct stack *running;
static void (*to_begin)(void);
static sigjmp_buf is_made;
static jmp_buf caller;
static void *caller_fake;
static const void *caller_memory;
static size_t caller_bytes;

/* A sanitizer is told before a jump, and behind it. */
static void note_leaving(void **fake, const void *bottom, size_t length)
{
#ifdef HAS_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(fake, bottom, length);
#else
    (void)fake;
    (void)bottom;
    (void)length;
#endif
}

static void note_arrival(void *fake, bool is_from_caller)
{
#ifdef HAS_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(fake, is_from_caller ? &caller_memory : NULL,
                                    is_from_caller ? &caller_bytes : NULL);
#else
    (void)fake;
    (void)is_from_caller;
    (void)caller_bytes;
#endif
}

/* On the new stack. It is never returned from. */
static void make_here(int signal_number)
{
    (void)signal_number;
    if (setjmp(running->bottom) == 0) {
        siglongjmp(is_made, 1);
    }
    note_arrival(NULL, true);
    to_begin();
    stack_leave();
}

static void make_stack(unsigned number)
{
    struct sigaction action = {.sa_handler = make_here, .sa_flags = SA_ONSTACK};
    struct sigaction before;
    stack_t stack = {.ss_sp = memory[number], .ss_size = STACK_BYTES};
    stack_t stack_before;
    running = &stacks[number];
    (void)sigemptyset(&action.sa_mask);
    if (sigaltstack(&stack, &stack_before) < 0 ||
        __real_sigaction(SIGUSR2, &action, &before) < 0) {
        perror("world: a second stack");
        abort();
    }
    if (sigsetjmp(is_made, 1) == 0) {
        (void)__real_raise(SIGUSR2); /* which does not return */
    }
    (void)__real_sigaction(SIGUSR2, &before, NULL);
    (void)sigaltstack(&stack_before, NULL);
    stacks[number].is_made = true;
}

void stack_begin(unsigned number, void (*function)(void))
{
    if (!stacks[number].is_made) {
        make_stack(number);
    }
    running = &stacks[number];
    to_begin = function;
#ifdef HAS_ADDRESS_SANITIZER
    __asan_unpoison_memory_region(memory[number], STACK_BYTES);
#endif
    if (setjmp(caller) == 0) {
        note_leaving(&caller_fake, memory[number], STACK_BYTES);
        longjmp(running->bottom, 1);
    }
    note_arrival(caller_fake, false);
}

void stack_go_on(unsigned number)
{
    running = &stacks[number];
    if (setjmp(caller) == 0) {
        note_leaving(&caller_fake, memory[number], STACK_BYTES);
        longjmp(running->top, 1);
    }
    note_arrival(caller_fake, false);
}

void stack_pause(void)
{
    struct stack *own = running;
    if (setjmp(own->top) == 0) {
        note_leaving(&own->fake, caller_memory, caller_bytes);
        longjmp(caller, 1);
    }
    note_arrival(own->fake, true);
}

void stack_leave(void)
{
    note_leaving(NULL, caller_memory, caller_bytes);
    longjmp(caller, 1);
}
