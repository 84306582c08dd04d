# kv-store: build, run, test, install. `make help` lists the targets.

PREFIX  ?= /usr/local
# The C compiler that there is, unless one is named.
ifeq ($(origin CC),default)
CC      := $(notdir $(or $(shell command -v cc || command -v gcc || command -v clang),cc))
endif
CFLAGS  ?= -O3 -g
CPPFLAGS ?=
LDFLAGS ?=

# One build directory for each variant: release, debug, check, san, ...
BUILD    ?= build/release
EXTRA    ?=
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wold-style-definition -Wcast-qual -Wpointer-arith \
	-Wformat=2 -Wundef -Wvla -Wimplicit-fallthrough
# On 32-bit systems offsets and times are 32 bits wide unless asked otherwise.
POINTER_BYTES := $(shell echo __SIZEOF_POINTER__ | $(CC) $(CFLAGS) -E -P - 2>/dev/null)
ifeq ($(POINTER_BYTES),4)
WIDE_TYPES := -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64
endif
# What is built by other commands than before is built anew: their record changes then.
COMMANDS := $(CC) $(CPPFLAGS) $(CFLAGS) $(EXTRA) -- $(LDFLAGS)
# A short line for each file that is made; V=1: whole commands; V=0, or make -s: neither.
V        ?= $(if $(findstring s,$(firstword -$(MAKEFLAGS))),0)
show      = $(if $(V),$(if $(filter 0,$(V)),@),@printf '%-4s %s\n' $1 '$2';)
COMPILE   = $(CC) -std=c11 -D_POSIX_C_SOURCE=200809L $(WIDE_TYPES) -Iinclude $(WARNINGS) \
	$(CPPFLAGS) $(CFLAGS) $(EXTRA)
LINK      = $(COMPILE) $(LDFLAGS)

# Variants that the checks build: stacks have lines, which costs half as much as all of -g.
CHECK_FLAGS := -O2 -g1 -Werror
SAN_FLAGS   := -O1 -g1 -Werror -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer

SOURCES      := $(wildcard src/*.c src/*/*.c)
MODULES      := $(filter-out src/main.c src/kv.c,$(SOURCES))
OBJECTS       = $(MODULES:src/%.c=$(BUILD)/src/%.o)
# The long sweeps over faults have a target of their own.
ALL_TESTS    := $(basename $(notdir $(wildcard tests/unit/test_*.c tests/server/test_*.c)))
FAULT_TESTS  := $(filter test_corpus,$(ALL_TESTS))
UNIT_TESTS   := $(filter-out $(FAULT_TESTS),$(ALL_TESTS))
# The server tests wait most, so they begin; then those that compute longest, so that no
# processor is without work at the end.
LONG_TESTS   := test_server_% test_index test_scan test_stop test_compact%
UNIT_TESTS   := $(foreach tests,$(LONG_TESTS),$(filter $(tests),$(UNIT_TESTS))) \
	$(filter-out $(LONG_TESTS),$(UNIT_TESTS))
# These only drive the program: what is run under valgrind with them is the server.
DRIVERS      := $(notdir $(basename $(shell grep -l '"support/scene\.h"' tests/server/test_*.c)))
UNIT_BINARIES = $(OTHER_UNITS) $(UNIT_TESTS:%=$(BUILD)/tests/%)
FAULT_BINARIES = $(FAULT_TESTS:%=$(BUILD)/tests/%)
# What the world and torture send, and what they expect; the other tests have no use for it.
MODEL         = $(patsubst %,$(BUILD)/support/%.o,bytes contents lines words)
SUPPORT       = $(filter-out $(MODEL),\
	$(patsubst tests/support/%.c,$(BUILD)/support/%.o,$(wildcard tests/support/*.c)))

.PHONY: world world-proof check-world all help debug run test check check-san check-valgrind check-served check-clang check-clients \
	check-faults check-service check-rows check-builds check-power check-all torture fuzz \
	coverage mutants mutate bench bench-restart bench-compact bench-larger bench-disk lint format \
	check-format install uninstall clean unit-binaries all-binaries run-unit run-every run-corpus run-torture tools FORCE

all: kv-store kv

# Modules call each other for every command: where the compiler can, it sees all of them
# at once when it makes ./kv-store. It is asked once, by the first command that uses LTO.
LTO = $(eval LTO := $(shell echo 'int main(void) { return 0; }' | \
	$(CC) -flto=auto -x c -o /dev/null - 2>/dev/null && echo -flto=auto))$(LTO)
kv-store kv: EXTRA += $(LTO)

help:
	@sed -n 's/^#: //p' Makefile

# Renamed into place: a program that runs cannot be written to, and stays as it is.
#: all             build ./kv-store and ./kv (the default)
kv-store: $(BUILD)/kv-store
	@cp $< $<.new && mv -f $<.new $@

#: kv              build ./kv, the small client
kv: $(BUILD)/kv
	@cp $< $<.new && mv -f $<.new $@

#: debug           build build/debug/kv-store with -O0 -g3
debug:
	@$(MAKE) --no-print-directory BUILD=build/debug CFLAGS="-O0 -g3" build/debug/kv-store

#: run             build both and start the server on 127.0.0.1:7878 with ./kv.log
run:
	@[ -e kv-store ] || echo 'building ./kv-store and ./kv'
	@$(MAKE) --no-print-directory $(jobs) V=$(or $(V),0) kv-store kv
	./kv-store

$(BUILD)/commands: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(COMMANDS))' | cmp -s - $@ || \
		echo '$(subst ','\'',$(COMMANDS))' >$@

$(BUILD)/kv-store: $(OBJECTS) $(BUILD)/src/main.o
	$(call show,LINK,$@)$(LINK) -o $@ $^

KV_OBJECTS = $(BUILD)/src/kv.o $(patsubst %,$(BUILD)/src/base/%.o,buffer decimal utf8)
$(BUILD)/kv: $(KV_OBJECTS)
	$(call show,LINK,$@)$(LINK) -o $@ $^

$(BUILD)/libkv.a: $(OBJECTS)
	$(call show,AR,$@)rm -f $@ && ar rcs $@ $^

$(BUILD)/src/%.o: src/%.c $(BUILD)/commands
	@mkdir -p $(@D)
	$(call show,CC,$<)$(COMPILE) -MMD -MP -c -o $@ $<

# For make mutate.
$(BUILD)/src/%.s: src/%.c
	@mkdir -p $(@D)
	$(call show,CC,$<)$(COMPILE) -S -o $@ $<

$(BUILD)/support/%.o: tests/support/%.c $(BUILD)/commands
	@mkdir -p $(@D)
	$(call show,CC,$<)$(COMPILE) -Itests -MMD -MP -c -o $@ $<

$(BUILD)/tests/%.o: tests/unit/%.c $(BUILD)/commands
	@mkdir -p $(@D)
	$(call show,CC,$<)$(COMPILE) -Itests -MMD -MP -c -o $@ $<

$(BUILD)/tests/%.o: tests/server/%.c $(BUILD)/commands
	@mkdir -p $(@D)
	$(call show,CC,$<)$(COMPILE) -Itests -MMD -MP -c -o $@ $<

# A test may replace system calls: the names to wrap stand in a comment of its source.
# The clock is replaced in all of them, see shim.h: none may depend on real time.
$(BUILD)/tests/%: $(BUILD)/tests/%.o $(SUPPORT) $(BUILD)/libkv.a
	$(call show,LINK,$@)$(LINK) -o $@ $^ $$(sed -n 's/^ \* wrap: //p' tests/*/$*.c | tr -s ' ' '\n' \
		| sed '/./s/^/-Wl,--wrap=/') -Wl,--wrap=clock_gettime -lcmocka

-include $(wildcard $(BUILD)/*/*.d $(BUILD)/*/*/*.d)

# Objects between a source and a program are kept: the next make would compile them again.
.SECONDARY:

# The saved inputs of the fuzzers are replayed with the unit tests.
FUZZ_OBJECTS   = $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%.o,\
	$(filter-out tests/fuzz/libfuzzer_%,$(wildcard tests/fuzz/*.c)))
OTHER_UNITS    = $(BUILD)/world/world $(BUILD)/fuzz/replay

$(BUILD)/fuzz/%.o: tests/fuzz/%.c $(BUILD)/commands
	@mkdir -p $(@D)
	$(call show,CC,$<)$(COMPILE) -Itests -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/replay: $(FUZZ_OBJECTS) $(MODEL) $(SUPPORT) $(BUILD)/libkv.a
	$(call show,LINK,$@)$(LINK) -o $@ $^ -lcmocka

# The world puts the program's data back to their beginning for each life of it, so they
# stand in sections of their own. Its sources say which calls it answers.
WORLD_OBJECTS = $(patsubst tests/world/%.c,$(BUILD)/world/%.o,$(wildcard tests/world/*.c))

$(BUILD)/world/%.o: tests/world/%.c $(BUILD)/commands
	@mkdir -p $(@D)
	$(call show,CC,$<)$(COMPILE) -Itests -MMD -MP -c -o $@ $<

$(BUILD)/world/libkv.a: $(BUILD)/libkv.a
	@mkdir -p $(@D)
	$(call show,COPY,$@)objcopy --rename-section .data=kv_data --rename-section .bss=kv_bss $< $@

# Who follows the server there is another program: the same code once more, with names that
# nobody else sees, and sections of its own.
LINK_APART = $(CC) $(filter-out -fsanitize=%,$(CFLAGS)) -r -nostdlib -o
FOLLOW_NAMES = follow_open follow_close follow_look follow_place
$(BUILD)/world/follow.o: $(BUILD)/libkv.a
	@mkdir -p $(@D)
	$(call show,LINK,$@)$(LINK_APART) $@.all $(FOLLOW_NAMES:%=-Wl,-u,%) $<
	$(call show,COPY,$@)objcopy $(FOLLOW_NAMES:%=--keep-global-symbol=%) --rename-section .data=kf_data \
		--rename-section .bss=kf_bss $@.all $@
	rm -f $@.all

# So are the small clients, whose calls go to functions of the world's by their names: the
# world is told of nobody else's.
SMALL_CALLS = $(shell sed -n 's/^ \* small: //p' tests/world/small.c)
$(BUILD)/world/kv.o: $(KV_OBJECTS)
	@mkdir -p $(@D)
	$(call show,LINK,$@)$(LINK_APART) $@.all $^
	$(call show,COPY,$@)objcopy $(foreach name,$(SMALL_CALLS),--redefine-sym $(name)=small_$(name)) \
		--redefine-sym main=small_main --rename-section .data=kc_data \
		--rename-section .bss=kc_bss $@.all $@.named
	objcopy --keep-global-symbol=small_main $@.named $@
	rm -f $@.all $@.named

$(BUILD)/world/world: $(WORLD_OBJECTS) $(BUILD)/world/follow.o $(BUILD)/world/kv.o $(MODEL) $(BUILD)/support/dice.o \
		$(BUILD)/world/libkv.a
	$(call show,LINK,$@)$(LINK) -o $@ $^ $$(sed -n 's/^ \* wrap: //p' tests/world/*.c | tr -s ' ' '\n' \
		| sed '/./s/^/-Wl,--wrap=/')

unit-binaries: $(UNIT_BINARIES) $(BUILD)/kv-store $(BUILD)/kv

all-binaries: unit-binaries $(FAULT_BINARIES) $(BUILD)/torture

run-unit: unit-binaries
	@KV_STORE_PROGRAM=$(BUILD)/kv-store KV_TITLE=$(TITLE) \
		tests/run-unit.sh "$(RUNNER)" $(UNIT_BINARIES)

run-every:
	tests/world/every.sh $(WORLD)

run-corpus: $(FAULT_BINARIES)
	@KV_TITLE=$(TITLE) tests/run-unit.sh "" $(FAULT_BINARIES)

run-torture: $(BUILD)/kv-store $(BUILD)/torture
	$(BUILD)/torture $(BUILD)/kv-store 200
	@echo "torture: 200 kills, 0 violations" | tee -a $(RAN)

$(BUILD)/torture: tests/server/torture.c $(SUPPORT) $(MODEL) $(BUILD)/libkv.a
	$(call show,LINK,$@)$(LINK) -Itests -o $@ $^ -lcmocka

tools:
	@tests/install-tools.sh

# Each part of `make test` adds a line to this file, which its end shows.
RAN = $${KV_RAN:-/dev/null}

TEST_PARTS := check check-world check-clients+check-faults check-san check-valgrind \
	check-power+check-clang+check-service+check-rows

#: test            every test; installs what is missing on a Debian machine first
test: tools
	@echo "parts: $(TEST_PARTS)"
	@echo "not a part of it: $(NOT_IN_TEST)"
	@KV_RAN="$(CURDIR)/build/ran" MAKE="$(MAKE)" tests/run-parts.sh SECONDS=20 $(TEST_PARTS)

NOT_IN_TEST := check-served, check-builds, lint, check-format, mutants (make check-all), coverage, fuzz, torture, bench

# On all processors, unless make was told on how many; then one by one by run-unit.sh.
PROCESSORS := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
jobs       = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(PROCESSORS))
build_with = $(MAKE) --no-print-directory $(jobs) V=$(or $(V),0) BUILD=build/$1 CFLAGS="$2"

#: check           unit and server tests, warnings are errors; before every commit
check:
	@$(call build_with,check,$(CHECK_FLAGS)) unit-binaries
	@$(MAKE) --no-print-directory BUILD=build/check CFLAGS="$(CHECK_FLAGS)" TITLE=$@ run-unit

# Under these everything is slow, and cases are smaller; SLOW=0: as large as ever.
SLOW ?= 1

#: check-san       the same under the address and undefined-behaviour sanitizers
check-san:
	@$(call build_with,san,$(SAN_FLAGS)) unit-binaries
	@$(MAKE) --no-print-directory BUILD=build/san CFLAGS="$(SAN_FLAGS)" TITLE=$@ \
		RUNNER="env KV_TEST_SLOW=$(SLOW)" run-unit

VALGRIND = tests/under-valgrind.sh
# Here files are on a disk, where the others have them in memory.
run_on_disk = TMPDIR=$${TMPDIR:-/tmp} $(MAKE) --no-print-directory BUILD=build/check \
	CFLAGS="$(CHECK_FLAGS)" TITLE=$@ run-unit

#: check-valgrind  those under valgrind in which the program's own code is run
check-valgrind:
	@$(call build_with,check,$(CHECK_FLAGS)) unit-binaries
	@$(run_on_disk) UNIT_TESTS="$(filter-out $(DRIVERS),$(UNIT_TESTS))" \
		RUNNER="env KV_TEST_SLOW=$(SLOW) KV_TEST_VALGRIND=1 $(VALGRIND)"

#: check-served    tests that drive the programs, while those run under valgrind
check-served:
	@$(call build_with,check,$(CHECK_FLAGS)) unit-binaries
	@KV_TEST_SLOW=$(SLOW) KV_STORE_RUNNER="$(VALGRIND)" \
		$(run_on_disk) UNIT_TESTS="$(DRIVERS)" OTHER_UNITS=
	@KV_RUNNER="$(CURDIR)/$(VALGRIND)" tests/clients/run.sh build/check/kv-store kv.sh

#: check-faults    scripts with each call failing and each death, damaged logs, kill -9
check-faults:
	@$(call build_with,check,$(CHECK_FLAGS)) all-binaries
	@$(MAKE) --no-print-directory -j3 -O BUILD=build/check CFLAGS="$(CHECK_FLAGS)" TITLE=$@ \
		run-every run-corpus run-torture

# A violation leaves its script where every later run finds it.
WORLD := build/check/world/world

#: world           fresh seeds of the simulated world for SECONDS (60), from SEED on
SEED ?= $(shell date +%s)000
world:
	@$(call build_with,check,$(CHECK_FLAGS)) $(WORLD)
	$(WORLD) --save tests/world/found --seed $(SEED) --seconds $(SECONDS)

#: check-world     scripts that were found, a fixed set of seeds, then fresh ones (SECONDS=60)
check-world:
	@$(call build_with,check,$(CHECK_FLAGS)) $(WORLD)
	tests/world/check.sh $(WORLD) $(SEED) $(SECONDS)

#: world-proof     defects put into the program one at a time, each found within a minute
world-proof:
	tests/world/proof.sh

#: torture         kill -9 10,000 times (KILLS=n)
KILLS ?= 10000
torture:
	@$(MAKE) --no-print-directory BUILD=build/check CFLAGS="$(CHECK_FLAGS)" \
		build/check/kv-store build/check/torture
	build/check/torture build/check/kv-store $(KILLS)

#: fuzz            each fuzzer for SECONDS (60)
SECONDS ?= 60
fuzz:
	tests/fuzz/run.sh $(SECONDS)

#: check-power     power cuts on real ext4, xfs, btrfs for SECONDS (60), SEED; PROVE=1, COST=1
POWER_OPTIONS = $(strip --seconds $(if $(STATES),1000000 --states $(STATES),$(SECONDS)) \
	$(if $(SEED),--seed $(SEED)) $(if $(KINDS),--kinds $(KINDS)) \
	$(if $(REPEAT),--repeat $(REPEAT)) $(if $(COST),--cost) $(if $(PROVE),--prove))
check-power: kv-store
	tests/power/run.sh ./kv-store $(POWER_OPTIONS)

#: coverage        which lines and branches no test takes, to look at
coverage:
	tests/coverage.sh

#: bench           the table against Redis and others; bench-restart, -compact, -larger, -disk
bench: kv-store
	tests/bench/bench.sh $(ROWS)
bench-restart: kv-store
	tests/bench/restart.sh
bench-compact: kv-store
	tests/bench/compact.sh
bench-larger: kv-store
	tests/bench/larger.sh
bench-disk: kv-store
	tests/bench/disk.sh $(ROWS)

#: mutants         break the program in ways that no branch shows, and see a test fail
mutants:
	tests/mutants.sh

#: mutate          SAMPLE (100) branches, one at a time taken always or never, by SEED (1)
SAMPLE ?= 100
mutate:
	tests/mutate.py $(SAMPLE) $(if $(filter command%,$(origin SEED)),$(SEED),1) $(ONLY)

#: check-rows      each fault has a test or a reason why not, each message a test
check-rows:
	tests/faults.py
	tests/messages.py

#: check-service   make's variables, install, uninstall; how exposed the systemd unit is
check-service: kv-store
	tests/make.sh
	tests/install.sh

#: check-clang     build everything with clang, warnings are errors
check-clang:
	@$(call build_with,clang,-O0 -Werror) CC=clang all-binaries
	@echo "check-clang: every program and test was built without a warning" | tee -a $(RAN)

#: check-builds    gcc and clang at each level, musl, 32 bits, POSIX alone; BUILDS="musl m32"
check-builds:
	tests/builds.sh $(BUILDS)

#: check-clients   real clients against the real program: nc, ncat, socat, telnet, bash, curl
check-clients: kv-store kv
	tests/clients/run.sh ./kv-store

#: lint            clang-tidy, cppcheck, include levels, function and file length
lint:
	tests/lint.sh

FORMATTED = $(wildcard src/*.c src/*/*.c include/*.h include/*/*.h tests/*/*.c tests/*/*.h)

#: format          apply .clang-format;  check-format: verify it
format:
	clang-format -i $(FORMATTED)
check-format:
	clang-format --dry-run -Werror $(FORMATTED)

#: check-all       everything above that passes or fails
check-all: test check-served check-builds lint check-format mutants
	@$(MAKE) --no-print-directory SLOW=0 check-san
	@echo "make check-all passed: test, check-served, check-builds, lint, check-format, mutants"

#: install         program, man page and service unit to DESTDIR, PREFIX;  uninstall: take them away
ROOT := $(DESTDIR)$(PREFIX)
BIN  := $(ROOT)/bin
MAN  := $(ROOT)/share/man/man1
UNIT := $(ROOT)/lib/systemd/system
# Which directories install had to make, for uninstall to remove: `make clean` keeps it.
INSTALLED ?= build/installed
install: kv-store kv
	@case "$(PREFIX)" in *[!A-Za-z0-9/._+-]* | [!/]*) \
		echo "PREFIX goes into the service unit: an absolute path of plain letters" >&2; \
		exit 1;; esac
	src/directories.sh make $(INSTALLED) "$(BIN)" "$(MAN)" "$(UNIT)"
	install -m 755 kv-store "$(BIN)/kv-store"
	install -m 755 kv "$(BIN)/kv"
	install -m 644 src/kv-store.1 "$(MAN)/kv-store.1"
	install -m 644 src/kv.1 "$(MAN)/kv.1"
	sed 's|@PREFIX@|$(PREFIX)|' src/kv-store.service >"$(UNIT)/kv-store.service"
	chmod 644 "$(UNIT)/kv-store.service"
	install -m 644 src/kv-store.socket "$(UNIT)/kv-store.socket"
uninstall:
	rm -f "$(BIN)/kv-store" "$(BIN)/kv" "$(MAN)/kv-store.1" "$(MAN)/kv.1" "$(UNIT)/kv-store.service" \
		"$(UNIT)/kv-store.socket"
	src/directories.sh remove $(INSTALLED) "$(BIN)" "$(MAN)" "$(UNIT)"

#: clean           remove build products
clean:
	rm -rf kv-store kv $(filter-out $(INSTALLED),$(wildcard build/*))
	@rmdir build 2>/dev/null || true
