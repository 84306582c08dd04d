#!/usr/bin/env bash
# The road out: what --dump prints makes another kv-store, and Redis where there is one,
# hold the same keys with the same values, byte for byte.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "$0")/lib.sh"

cd -- "$work" || exit 1

# What may go wrong on the way: values without a byte, with spaces around, with CR at the
# end, with every character that means something in SET lines or in the protocol of Redis.
difficult() {
    printf 'SET empty \n'
    printf 'SET space  \n'
    printf 'SET spaces   two  words  \n'
    printf 'SET cr one\r\r\n'
    printf 'SET crs two\r\r\r\n'
    printf 'SET only-cr \r\r\n'
    printf 'SET inner-cr a\rb\n'
    # shellcheck disable=SC2016 # These dollars are data.
    printf 'SET quotes "a" '\''b'\'' \\n \\x00 $0 %%s\n'
    # shellcheck disable=SC2016 # And these.
    printf 'SET resp *3\r$3\r:1\n'
    printf 'SET controls \001\002\t\033[0m\177\n'
    printf 'SET widest \364\217\277\277\355\237\277\357\277\277\302\200\n'
    printf 'SET ключ-é-☃-𝄞 値\n'
    printf 'SET "quoted" yes\n'
    printf 'SET tab\tin\tkey yes\n'
    printf 'SET number 9223372036854775808\n'
    printf 'SET megabyte '
    repeated m 1048576
    printf '\nSET %s the longest key\n' "$(printf '%065535d' 0)"
    seq 20000 | sed 's/.*/SET many& value & of 20000/'
}
difficult >sets
key_count=$(wc -l <sets)

serve log
nc_plain <sets >got
successes "$key_count" >expected
same "$key_count keys are stored" got expected
stop_server TERM

dumped() { # dumped LOG: its dump, which is in the order of the log
    run_program --file "$1" --dump
    check "$1: --dump ends with status 0 and a line for each key" \
        "$run_status $(wc -l <run.stdout) $(cat run.stderr)" "0 $key_count "
    cp run.stdout "$1.dump"
}

dumped log
same "the dump is what was sent, in its order" log.dump sets
run_program --file log --dump
same "and the same bytes each time" run.stdout log.dump

serve second
"$program" --file log --dump | nc_plain >got
same "each line of the dump is accepted by another kv-store" got expected
stop_server TERM
dumped second
same "and its own dump is the same" second.dump log.dump

if ! start_redis; then
    not_run "--dump=resp | redis-cli --pipe" "no redis-server"
    exit 0
fi

"$program" --file log --dump=resp | timeout "$seconds_max" redis-cli -s "$redis_socket" \
    --pipe >got 2>&1
check "Redis accepts each command of the dump" "$(tail -n 1 got)" \
    "errors: 0, replies: $key_count"
check "Redis has as many keys" "$(redis-cli -s "$redis_socket" DBSIZE)" "$key_count"
sed 's/^SET \([^ ]*\) .*/\1/' sets >keys
python3 "$here/redis_values.py" "$redis_socket" <keys >values.redis
serve log
sed 's/^/GET /' keys | nc_plain >values
same "Redis has the same value for every key" values.redis values
stop_server TERM
stop_redis
exit 0
