#!/usr/bin/env bash
# Run a program under valgrind, as `make check-valgrind` and `make check-served` do.
#
#     tests/under-valgrind.sh PROGRAM [ARGUMENT...]
#
# The program keeps a view of 16 GiB of each log if it can have it, and valgrind takes some
# milliseconds to note each such view: half of all time. Where a process may not have so
# much, the program is content with 64 MiB, and grows them. Three tests are about the large
# view; those have it here as well.
set -eu
case ${1##*/} in
test_log | test_messages | test_store_faults) ;;
*) ulimit -S -v 8000000 2>/dev/null || : ;; # it has less as it is
esac
# A SIGBUS handler that puts a page in place needs exact registers at each access.
exec valgrind -q --error-exitcode=99 --leak-check=full \
    --vex-iropt-register-updates=allregs-at-mem-access "$@"
