/*
 * Stacks beside the one of the server, for programs that wait within their calls: one of
 * them runs at a time, until it pauses or is over, and then its caller goes on.
 */
#ifndef KV_WORLD_STACK_H
#define KV_WORLD_STACK_H

/* Begin a function on the stack of a number below CLIENTS_MAX; what stood there is gone.
 */
void stack_begin(unsigned number, void (*function)(void));

/* Go on where it paused. Both return when it pauses, or leaves. */
void stack_go_on(unsigned number);

/* For the function that runs. */
void stack_pause(void);
_Noreturn void stack_leave(void);

#endif
