/*
 * Put before every source of a coverage build, see coverage.sh: _exit ends a process
 * without writing down what it ran, so that is done first.
 *
 * No header is included here: a source may say which interfaces it wants of them.
 */
#ifndef KV_SUPPORT_COVERAGE_H
#define KV_SUPPORT_COVERAGE_H

void __gcov_dump(void);
_Noreturn void _Exit(int code);

_Noreturn void coverage_exit(int code);
__attribute__((weak)) _Noreturn void coverage_exit(int code)
{
    __gcov_dump();
    _Exit(code);
}

#define _exit coverage_exit

#endif
