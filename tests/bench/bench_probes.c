/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probes_set() with 100, 1,000 and 10,000 targets that are all there already, as each reload
 * calls it. One operation is one target: where the time is linear, the rows are alike.
 */
#include "micro.h"

#include <sys/socket.h>

#include "ev/loop.h"
#include "health/probes.h"
#include "util/err.h"

#define N_TARGETS 10000u
#define CLASS_PROBE 5u

struct set {
	struct probes *probes;
	struct probe_target *targets;
	unsigned n;
};

/* The checks begin in an hour: nothing is ever reported. */
static void no_result(void *arg, void *target, bool is_ok, const char *text)
{
	(void)arg;
	(void)target;
	(void)is_ok;
	(void)text;
	MICRO_CHECK(false);
}

static void no_check(void *arg, void *target, const char *text)
{
	no_result(arg, target, false, text);
}

static void no_verdict(void *arg, void *target, bool is_up, bool is_first, const char *text)
{
	(void)is_first;
	no_result(arg, target, is_up, text);
}

static const struct probe_ops ops = {
	.on_result = no_result,
	.on_none = no_check,
	.on_verdict = no_verdict,
};

static void set_all(void *arg, unsigned n)
{
	struct set *s = arg;

	MICRO_CHECK(n == s->n);
	MICRO_CHECK(probes_set(s->probes, s->targets, s->n) == 0);
}

static void run(struct loop *loop, unsigned n, int argc, char **argv)
{
	static char path[] = "/health";
	static struct conf_health conf = {
		.type = CONF_CHECK_HTTP,
		.path = path,
		.status_min = 200,
		.status_max = 399,
		.interval_ms = 3600000,
		.timeout_ms = 1000,
		.rise = 2,
		.fall = 3,
	};
	struct set s = { .probes = probes_new(loop, CLASS_PROBE, &ops, NULL), .n = n };
	char *who = malloc(n);
	char name[64];

	s.targets = calloc(n, sizeof(*s.targets));
	MICRO_CHECK(s.probes != NULL && s.targets != NULL && who != NULL);
	for (unsigned i = 0; i < n; i++)
		s.targets[i] = (struct probe_target){
			.arg = &who[i],
			.addr = { .family = AF_INET,
				  .port = 9000,
				  .v4 = { 10, 0, (uint8_t)(i >> 8), (uint8_t)i } },
			.conf = &conf,
		};
	/* The first check of the first target would be at once. */
	s.targets[0].is_paused = true;
	(void)snprintf(name, sizeof(name), "probes_set, a target of %u", n);
	micro_run(name, set_all, &s, n, argc, argv);
	MICRO_CHECK(!probes_close(s.probes));
	probes_free(s.probes);
	free(s.targets);
	free(who);
}

int main(int argc, char **argv)
{
	static const unsigned sizes[] = { 100, 1000, N_TARGETS };
	struct loop_opts o = { .engine = LOOP_EPOLL };
	struct err e = ERR_INIT;
	struct loop *loop;

	MICRO_CHECK(loop_new(&o, &e, &loop) == 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		run(loop, sizes[i], argc, argv);
	loop_free(loop);
	err_deinit(&e);
	return 0;
}
