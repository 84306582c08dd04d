#!/usr/bin/env bash
# Does the program keep to C11 and POSIX.1-2008? What it includes, calls and names is
# compared with the lists below; platform.h alone may go beyond.
#
#     tests/posix.sh [OBJECT...]        objects of src/, for the calls in them
#
# A name that is missing here and in POSIX.1-2008 belongs in platform.h, with what it
# falls back to; one that POSIX has is added to its list.
set -u
cd "$(dirname "$0")/.." || exit 1
failures=0

allow() { # allow WHAT LIST < NAMES: names that are not on the list are a failure
    local unknown
    mapfile -t list <<<"${2//[[:space:]]/$'\n'}"
    unknown=$(sort -u | grep -Fvx -f <(printf '%s\n' "${list[@]}" | grep . || echo //))
    if [[ -n $unknown ]]; then
        echo "posix: $1 that POSIX.1-2008 may not have: ${unknown//$'\n'/ }"
        grep -nwF -e "$unknown" "${files[@]}" | head -n 10
        failures=$((failures + 1))
    fi
}

files=()
for file in src/*.c src/*/*.c include/*.h include/*/*.h; do
    [[ $file == include/base/platform.h ]] || files+=("$file")
done

# What is no comment and no text.
code=$(cat "${files[@]}" | perl -0777 -pe 's{/\*.*?\*/}{}gs; s{"(\\.|[^"\\\n])*"}{""}g')
names() { # names PATTERN: that occur in the code and are not defined in it
    grep -oE "$1" <<<"$code" |
        grep -Fvx -f <(sed -n 's/^ *# *define *\([A-Za-z0-9_]*\).*/\1/p' <<<"$code")
}

# getopt.h is the one header of no standard.
allow "headers" "
    assert.h errno.h inttypes.h limits.h signal.h stdarg.h stdbool.h stddef.h stdint.h
    stdio.h stdlib.h string.h time.h
    fcntl.h netdb.h netinet/in.h netinet/tcp.h poll.h sys/mman.h sys/resource.h sys/socket.h sys/stat.h
    sys/statvfs.h sys/time.h sys/types.h sys/un.h unistd.h
    getopt.h" < <(sed -n 's/^ *# *include *<\(.*\)>.*/\1/p' <<<"$code")

# Whatever begins with two underscores, and the keywords of GNU C.
allow "compiler extensions" "__func__ __VA_ARGS__" \
    < <(names '\b(__[A-Za-z0-9_]+|typeof|asm|alloca)\b')

# What is compiled where depends on nothing but the words of platform.h and the guards.
allow "conditions" "defined" \
    < <(sed -nE 's/^ *# *(if[a-z]*|elif) +(.*)/\2/p' <<<"$code" |
        grep -oE '[A-Za-z_][A-Za-z0-9_]*' | grep -vE '^KV_[A-Z0-9_]+$')
allow "pragmas" "" < <(sed -nE 's/^ *# *pragma *//p' <<<"$code"; names '\b_Pragma\b')

# Constants by their prefixes, and errors where they are compared.
prefixes='AF|AI|AT|CLOCK|FD|F|IPPROTO|MAP|MS|MSG|NI|O|POSIX|PROT|SA|SIG|SOCK|SOL|SO|TCP|_PC|_SC|SHUT'
allow "constants" "
    AF_INET6 AT_SYMLINK_NOFOLLOW AF_UNIX AF_UNSPEC AI_NUMERICSERV AI_PASSIVE CLOCK_MONOTONIC FD_CLOEXEC F_GETFD F_GETLK F_RDLCK F_SETFD
    F_SETFL F_SETLK F_UNLCK F_WRLCK IPPROTO_IPV6 IPPROTO_TCP MAP_FAILED MAP_FIXED MAP_PRIVATE MAP_SHARED
    MSG_NOSIGNAL MSG_PEEK NI_NUMERICHOST NI_NUMERICSERV O_CLOEXEC O_CREAT O_DIRECTORY O_EXCL O_NOCTTY
    O_NOFOLLOW O_NONBLOCK O_RDONLY O_RDWR O_WRONLY POLLIN POLLOUT POSIX_FADV_DONTNEED POSIX_MADV_NORMAL POSIX_MADV_RANDOM
    POSIX_MADV_WILLNEED PROT_READ
    SA_SIGINFO SHUT_WR SIGBUS SIGINT SIGPIPE SIGTERM SIGXFSZ SIGHUP SIG_BLOCK SIG_DFL SIG_IGN SIG_SETMASK SIG_UNBLOCK
    SOCK_DGRAM SOCK_STREAM SOL_SOCKET SO_ACCEPTCONN SO_KEEPALIVE SO_LINGER SO_RCVTIMEO SO_REUSEADDR SO_SNDTIMEO SO_TYPE TCP_NODELAY _SC_PAGESIZE" \
    < <(names "\b(($prefixes)_[A-Z0-9_]+|POLL[A-Z]+|SIG[A-Z]+)\b")
allow "errors" "
    EACCES EADDRNOTAVAIL EAFNOSUPPORT EAGAIN ECONNABORTED ECONNREFUSED EDQUOT EEXIST EFBIG EHOSTUNREACH EINPROGRESS EINTR EINVAL EIO ELOOP EMFILE ENAMETOOLONG
    ENETDOWN ENETUNREACH ENFILE ENOBUFS ENODEV ENOENT ENOMEM ENOPROTOOPT ENOSPC EOPNOTSUPP EPERM
    EPIPE EPROTO EROFS ETIMEDOUT EWOULDBLOCK" \
    < <(names '(case|errno [!=]?=) E[A-Z0-9]+\b' | grep -oE 'E[A-Z0-9]+$')

# What the objects want from outside; names with an underscore are the C library's own.
if [[ $# -gt 0 ]]; then
    wanted=$(nm -u "$@" | sed -n 's/^ *U //p' | sort -u)
    given=$(nm --defined-only "$@" | sed -n 's/^[0-9a-f]* [A-Z] //p' | sort -u)
    if [[ -z $given ]]; then
        echo "posix: no names in the objects"
        failures=$((failures + 1))
    fi
    allow "calls" "
    _exit accept bind calloc chmod clock_gettime close connect exit fclose fcntl
    fdatasync ferror fflush fopen fputs fread free freeaddrinfo fstat fstatat fstatvfs
    fsync ftruncate fwrite gai_strerror getaddrinfo getenv geteuid getnameinfo getpid
    getrlimit getsockname getsockopt isatty listen lstat malloc memchr memcmp memcpy
    memmove memset mmap munmap open openat optarg opterr optind pipe poll posix_fadvise
    posix_madvise printf pwrite qsort raise realloc recv renameat send sendto setbuf
    setsockopt shutdown sigaction sigaddset sigemptyset signal sigprocmask snprintf
    socket stderr stdin stdout strchr strcmp strcspn strdup strerror strlen strncmp
    strpbrk strrchr strtol sysconf umask unlink unlinkat unsetenv vfprintf vsnprintf
    write
    putc putchar puts fputc
    getopt_long" < <(comm -23 <(echo "$wanted") <(echo "$given") | grep -vE '^_(_|GLOBAL_)')
fi

if [[ $failures -gt 0 ]]; then
    echo "posix: $failures failures"
    exit 1
fi
if [[ $# -gt 0 ]]; then
    echo "posix: nothing beyond POSIX.1-2008 outside platform.h, and $# objects call nothing else"
else
    echo "posix: nothing beyond POSIX.1-2008 outside platform.h"
fi
