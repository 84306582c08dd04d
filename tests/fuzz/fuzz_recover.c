/*
 * Any bytes as the file that a server starts on.
 */
#include "fuzz/fuzz.h"

#include "fuzz/reopen.h"

int fuzz_recover(const uint8_t *data, size_t size)
{
    (void)reopen_check((struct slice){data, size}); /* it checks the outcome itself */
    return 0;
}
