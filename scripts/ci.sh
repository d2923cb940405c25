#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# scripts/ci.sh fast: format, layers, headers alone, shell scripts, hot files, rings of files, whether
#                     the planted bugs still apply: a minute.
# scripts/ci.sh full: all of that, other compilers, sanitizers, valgrind, analyzers, man pages,
#                     coverage: before an issue ends.
#
# scripts/ci.sh STEP...: only these, by the names of their functions below.
#
# Every step runs; the status is 0 if all of them passed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

PY=/usr/bin/python3
failed=()

step() {
	local name=$1
	shift
	echo "== $name"
	"$@" || { failed+=("$name"); echo "== $name: FAILED"; }
}

sources() {
	git ls-files -co --exclude-standard -- 'lb/*.c' 'backends/*.c'
}

headers() {
	git ls-files -co --exclude-standard -- 'lb/*.h' 'backends/*.h'
}

# setup DIR OPTION...: configures a build directory, again when the options may have changed
setup() {
	local dir=$1
	shift
	if [ -f "$dir/build.ninja" ]; then
		meson setup --reconfigure "$dir" "$@" >/dev/null
	else
		meson setup "$dir" "$@" >/dev/null
	fi && ninja -C "$dir" --quiet
}

# unit DIR [ARGUMENT-OF-MESON-TEST...]
unit() {
	local dir=$1
	shift
	meson test -C "$dir" --print-errorlogs --quiet "$@"
}

# simulation DIR COUNT: for builds in which a seed takes longer, so fewer seeds than scripts/test runs
simulation() {
	ninja -C "$1" --quiet tests/sim/lb-sim && "$1/tests/sim/lb-sim" --count "$2"
}

# all_integration DIR: test_memory.py runs alone, as in scripts/test, because it takes all memory of TCP
all_integration() {
	local alone=tests/integration/test_memory.py status=0
	integration "$1" --ignore "$alone" tests/integration || status=1
	integration "$1" "$alone" -n 0 || status=1
	return $status
}

# integration DIR [PYTEST-ARGUMENT...]: in a slower build (LB_SLOW) a test may take longer
integration() {
	local dir=$1
	shift
	[ -d tests/ws/node_modules ] || (cd tests/ws && npm ci --no-audit --no-fund) || return 1
	PYTEST_TIMEOUT=$((300 * ${LB_SLOW:-1})) LB_BUILD=$dir \
		$PY -m pytest -q -p no:cacheprovider -n 2 --dist loadscope "$@"
}

# ---- fast ----------------------------------------------------------------------------------------

check_format() {
	git ls-files -co --exclude-standard -- 'lb/*.[ch]' 'backends/*.[ch]' 'tests/*.[ch]' |
		xargs clang-format --dry-run --Werror
}

check_headers() {
	local h status=0
	while read -r h; do
		printf '#include "%s"\n' "${h#lb/}" |
			gcc -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -I. -Ilb -fsyntax-only -x c - ||
			status=1
	done < <(headers)
	return $status
}

check_shell() {
	shellcheck scripts/deps scripts/test scripts/demo scripts/sim scripts/fuzz scripts/soak scripts/bench scripts/million scripts/deb scripts/ci.sh \
		scripts/check-layers scripts/check-hot .ci/run \
		packaging/install-conf debian/lb.postrm packaging/completion/lb packaging/completion/lbctl
}

check_hot() {
	setup build && scripts/check-hot build
}

check_rings() {
	setup build && scripts/check-rings --self-test && scripts/check-rings build
}

# A patch that does not apply plants no bug: then the code that it changes has changed.
check_mutants() {
	local bug status=0
	for bug in tests/sim/mutants/*.patch; do
		patch -p1 --dry-run --quiet --fuzz=0 <"$bug" || { echo "$bug"; status=1; }
	done
	return $status
}

fast() {
	step deps scripts/deps fast
	step format check_format
	step layers scripts/check-layers
	step 'headers alone' check_headers
	step shellcheck check_shell
	step 'hot files' check_hot
	step rings check_rings
	step mutants check_mutants
}

# ---- full ----------------------------------------------------------------------------------------

with_clang() {
	CC=clang setup build-clang && unit build-clang --no-suite sim && simulation build-clang 1000
}

with_asan() {
	local options=detect_leaks=1:abort_on_error=0
	setup build-asan -Db_sanitize=address,undefined -Db_lundef=false -Dslab_malloc=true || return 1
	local status=0
	CK_TIMEOUT_MULTIPLIER=5 ASAN_OPTIONS=$options \
		unit build-asan --no-suite sim --timeout-multiplier 5 || status=1
	ASAN_OPTIONS=$options simulation build-asan 1000 || status=1
	ASAN_OPTIONS=$options LB_SLOW=4 all_integration build-asan || status=1
	return $status
}

with_tsan() {
	# Each worker has a descriptor table of its own, which TSan does not know: to TSan equal numbers
	# are the same descriptor. io_sync=0 suppresses most of the false reports. The tests drop the
	# others, closes of an equal number, and judge all other reports (lbtest.py); therefore TSan leaves
	# the exit status as it is.
	setup build-tsan -Db_sanitize=thread -Db_lundef=false || return 1
	# The unit tests of daemon/ start whole workers, too, and no test drops their false reports.
	local status=0
	CK_TIMEOUT_MULTIPLIER=10 TSAN_OPTIONS=io_sync=0 unit build-tsan --no-suite sim \
		--no-suite daemon --timeout-multiplier 10 || status=1
	TSAN_OPTIONS=io_sync=0:exitcode=0 LB_SLOW=6 all_integration build-tsan || status=1
	return $status
}

without_uring() {
	setup build-nouring -During=disabled && unit build-nouring --no-suite sim &&
		integration build-nouring -k 'epoll' tests/integration/test_tcp.py \
			tests/integration/test_websocket.py
}

# valgrind does not see that the kernel fills a ring of buffers, keeps some descriptors for itself, and
# runs threads one at a time. So it runs the pure layers, the layers above the loop on the simulated
# engine, and whole processes on epoll.
with_valgrind() {
	local valgrind='valgrind -q --vgdb=no --error-exitcode=99 --leak-check=full' suites=()
	for suite in util proto conf balance ctl; do
		suites+=(--suite "$suite")
	done
	setup build-valgrind -Dslab_malloc=true || return 1
	local status=0
	CK_TIMEOUT_MULTIPLIER=10 unit build-valgrind "${suites[@]}" --timeout-multiplier 20 \
		--wrap="$valgrind" || status=1
	{ ninja -C build-valgrind --quiet tests/sim/lb-sim &&
		$valgrind build-valgrind/tests/sim/lb-sim --count 20; } || status=1
	LB_SLOW=10 LB_WRAP=$valgrind integration build-valgrind -k 'epoll and not 64_mb' \
		tests/integration/test_tcp.py tests/integration/test_plain_http.py \
		tests/integration/test_admin.py || status=1
	return $status
}

# .clang-tidy lists the checks. There is one process for each file, because clang-tidy 14 reports false
# errors about va_lists from the second file on.
with_clang_tidy() {
	CC=clang setup build-clang || return 1
	sources | grep -v loop_uring_none | xargs -n 1 -P "$(nproc)" clang-tidy --quiet -p build-clang
}

with_cppcheck() {
	sources | xargs cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr \
		--suppress=missingInclude --error-exitcode=1 -D_GNU_SOURCE -I. -Ilb
}

# gcc 12 reports every object that is only in a list (util/list.h) as leaked, so that check is off; the
# sanitizers and valgrind find leaks.
with_analyzer() {
	local c status=0
	while read -r c; do
		gcc -std=gnu17 -D_GNU_SOURCE -DLB_VERSION='"0"' -O2 -fanalyzer -Wno-analyzer-malloc-leak \
			-Werror -I. -Ilb -c "$c" -o /dev/null || status=1
	done < <(sources)
	return $status
}

check_man() {
	local page out status=0
	for page in man/*.[1-8]; do
		out=$(groff -man -ww -Tutf8 -z "$page" 2>&1)
		[ -z "$out" ] || { echo "$out"; status=1; }
	done
	return $status
}

# Counts are updated atomically. Otherwise threads make some counts negative, which gcovr does not read.
coverage() {
	local status=0
	setup build-cov -Db_coverage=true -Dc_args=-fprofile-update=atomic || return 1
	unit build-cov --no-suite sim || status=1
	unit build-cov sim/faults || status=1
	simulation build-cov 1000 || status=1
	all_integration build-cov || status=1
	gcovr -r . --object-directory build-cov -f 'lb/' --print-summary | tail -n 150 || status=1
	return $status
}

full() {
	step deps scripts/deps full
	fast
	step clang with_clang
	step 'ASan, UBSan' with_asan
	step TSan with_tsan
	step 'no io_uring' without_uring
	step valgrind with_valgrind
	step clang-tidy with_clang_tidy
	step cppcheck with_cppcheck
	step 'gcc -fanalyzer' with_analyzer
	step 'man pages' check_man
	step 'mutants found' scripts/sim --mutants
	step fuzz scripts/fuzz --time 60s
	step coverage coverage
}

usage() {
	echo 'usage: scripts/ci.sh fast|full|STEP...' >&2
	exit 2
}

[ $# -gt 0 ] || usage
for name; do
	case $name in
	fast | full) "$name" ;;
	check_* | with_* | without_* | coverage)
		declare -F "$name" >/dev/null || usage
		step "$name" "$name"
		;;
	*) usage ;;
	esac
done
if [ ${#failed[@]} -gt 0 ]; then
	printf 'ci: failed:'
	printf ' "%s"' "${failed[@]}"
	printf '\n'
	exit 1
fi
echo 'ci: all passed'
