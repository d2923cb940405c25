/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs seeds: lb-sim [--from N] [--count N] [--trace]. With --faults it runs small scenarios in
 * which the n-th buffer, session, exchange or descriptor fails, for every n that such a scenario
 * reaches.
 *
 * Without --count it goes on for ever. When a promise is broken it names the seed and fails.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "owner_change.h"
#include "scenario.h"

static volatile uint64_t seed_now;
static volatile enum fault fault_now;
static volatile uint32_t nth_now;

/* Says how to see the failure again; what has failed was said before. */
static void on_abort(int signo)
{
	char text[100];
	int n = snprintf(text, sizeof(text),
			 "seed %llu fails; to see it step by step: scripts/sim --seed %llu\n",
			 (unsigned long long)seed_now, (unsigned long long)seed_now);

	if (nth_now > 0)
		n = snprintf(text, sizeof(text), "seed %llu fails with fault %d at %u\n",
			     (unsigned long long)seed_now, (int)fault_now, nth_now);

	(void)!write(STDERR_FILENO, text, (size_t)n);
	(void)signal(signo, SIG_DFL);
	(void)raise(signo);
}

static int usage(void)
{
	(void)fputs("usage: lb-sim [--from N] [--count N] [--trace] [--faults]\n", stderr);
	return 2;
}

/* Both worlds of one seed. */
static uint64_t run_seed(const struct sim_opts *o, uint64_t *n_armed_changes)
{
	struct owner_change_result r = owner_change_run(o);

	*n_armed_changes += r.n_armed_changes;
	return r.n_completions + scenario_run(o);
}

/* Every fault in the scenario of one seed. */
static uint64_t run_faults(const struct sim_opts *o)
{
	/* A session takes some ten buffers and two descriptors; a small scenario has six. */
	static const uint32_t most[N_FAULTS] = {
		[FAULT_BUFFER] = 100,
		[FAULT_SESSION] = 8,
		[FAULT_EXCHANGE] = 8,
		[FAULT_DESCRIPTOR] = 30,
	};
	uint64_t n = 0;

	for (enum fault what = FAULT_BUFFER; what < N_FAULTS; what++)
		for (fault_now = what, nth_now = 1; nth_now <= most[what]; nth_now++)
			n += scenario_run_with_fault(o, what, nth_now);
	return n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "from", required_argument, NULL, 'f' },
		{ "count", required_argument, NULL, 'c' },
		{ "trace", no_argument, NULL, 't' },
		{ "faults", no_argument, NULL, 'n' },
		{ 0 },
	};
	uint64_t from = 1, count = UINT64_MAX, n_completions = 0, n_armed_changes = 0;
	bool is_traced = false, has_faults = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'f': from = strtoull(optarg, NULL, 10); break;
		case 'c': count = strtoull(optarg, NULL, 10); break;
		case 't': is_traced = true; break;
		case 'n': has_faults = true; break;
		default: return usage();
		}
	}
	if (optind != argc)
		return usage();
	(void)signal(SIGABRT, on_abort);
	(void)signal(SIGSEGV, on_abort);
	for (uint64_t i = 0; i < count; i++) {
		seed_now = from + i;
		struct sim_opts o = { .seed = seed_now, .is_traced = is_traced };
		n_completions += has_faults ? run_faults(&o) : run_seed(&o, &n_armed_changes);
		if (count == UINT64_MAX && i % 1000 == 999)
			(void)printf("%llu seeds\n", (unsigned long long)(i + 1));
	}
	(void)printf("%llu seeds, %llu completions, %llu changes of owner with a receive armed: no"
		     " promise broken\n",
		     (unsigned long long)count, (unsigned long long)n_completions,
		     (unsigned long long)n_armed_changes);
	return 0;
}
