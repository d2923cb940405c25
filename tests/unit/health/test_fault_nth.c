/* SPDX-License-Identifier: Apache-2.0 */
/* Targets of health checks where malloc or the kernel refuses. */
#include "../ev/loop_fixture.h"
#include "../fault_nth.h"
#include "health/probes.h"

/* Of a test that is run on each engine, and in each manner. */
static int engine_of(int i)
{
	return i % n_engines;
}

static enum fault_manner manner_of(int i)
{
	return (enum fault_manner)(i / n_engines);
}

static const struct addr somewhere = { .family = AF_INET, .port = 80, .v4 = { 127, 0, 0, 1 } };

static void no_result(void *arg, void *target, bool is_ok, const char *text)
{
	(void)arg;
	(void)target;
	(void)is_ok;
	ck_abort_msg("%s", text);
}

static void no_none(void *arg, void *target, const char *text)
{
	no_result(arg, target, false, text);
}

static void no_verdict(void *arg, void *target, bool is_up, bool is_first, const char *text)
{
	(void)is_first;
	no_result(arg, target, is_up, text);
}

static const struct probe_ops silent = {
	.on_result = no_result,
	.on_none = no_none,
	.on_verdict = no_verdict,
};

/* Checks that begin in an hour. */
static struct conf_health health_with(char *path, char *host)
{
	return (struct conf_health){
		.type = CONF_CHECK_HTTP,
		.path = path,
		.host = host,
		.status_min = 200,
		.status_max = 399,
		.interval_ms = 3600000,
		.timeout_ms = 1000,
		.rise = 1,
		.fall = 1,
	};
}

/* Some targets are refused, the others are checked; the next attempt has all of them. */
START_TEST(targets_are_added_or_not)
{
	static char a[] = "/a", b[] = "/b", host[] = "x.example";

	FOR_EVERY_N(manner_of(_i))
	{
		struct conf_health old = health_with(a, host), new = health_with(b, NULL);
		struct probe_target t[3] = {
			{ .arg = &t[0], .addr = somewhere, .conf = &old },
			{ .arg = &t[1], .addr = somewhere, .conf = &old },
			{ .arg = &t[2], .addr = somewhere, .conf = &new },
		};
		struct probes *probes;
		int r;

		begin(engine_of(_i));
		WITH_FAULT(probes = probes_new(loop, CLASS_TEST + 3, &silent, NULL));
		ck_assert_int_eq(probes == NULL, fault.n_refused > 0);
		if (probes == NULL)
			probes = probes_new(loop, CLASS_TEST + 3, &silent, NULL);
		bool was_refused = fault.n_refused > 0;
		WITH_FAULT(r = probes_set(probes, t, 2));
		ck_assert(was_refused || r == (fault.n_refused > 0 ? -ENOMEM : 0));
		was_refused = was_refused || r < 0;
		ck_assert_int_eq(probes_set(probes, t, 2), 0);
		/* One is checked otherwise from now on, one goes, one comes, and all need room. */
		t[1].conf = &new;
		WITH_FAULT(r = probes_set(probes, t + 1, 2));
		ck_assert(was_refused || r == (fault.n_refused > 0 ? -ENOMEM : 0));
		ck_assert_int_eq(probes_set(probes, t + 1, 2), 0);
		ck_assert_int_eq(loop_turn(loop, 0), 0);
		UNTIL(!probes_close(probes));
		ck_assert_ptr_null(probes_free(probes));
		end();
	}
}
END_TEST

/* Adds t[1], which takes memory, then pauses t[0] for a while, which takes none. */
static int set_and_pause(struct probes *probes, const struct probe_target *t, unsigned *ret_n_asked)
{
	int r = probes_set(probes, t, 2);

	*ret_n_asked = fault.n_asked;
	probes_pause(probes, t[0].arg, true);
	probes_pause(probes, t[0].arg, false);
	return r;
}

/* However short memory is, maintenance begins and ends. */
START_TEST(pausing_takes_no_memory)
{
	static char path[] = "/a";

	FOR_EVERY_N(manner_of(_i))
	{
		struct conf_health conf = health_with(path, NULL);
		struct probe_target t[2] = {
			{ .arg = &t[0], .addr = somewhere, .conf = &conf },
			{ .arg = &t[1], .addr = somewhere, .conf = &conf },
		};
		unsigned n_asked;
		int r;

		begin(engine_of(_i));
		struct probes *probes = probes_new(loop, CLASS_TEST + 3, &silent, NULL);
		ck_assert_int_eq(probes_set(probes, t, 1), 0);
		WITH_FAULT(r = set_and_pause(probes, t, &n_asked));
		ck_assert(r == (fault.n_refused > 0 ? -ENOMEM : 0));
		ck_assert_uint_eq(fault.n_asked, n_asked);
		UNTIL(!probes_close(probes));
		ck_assert_ptr_null(probes_free(probes));
		end();
	}
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 60); /* it is run for every n, slowly under sanitizers */
	tcase_add_loop_test(t, targets_are_added_or_not, 0, FAULT_N_MANNERS * n_engines);
	tcase_add_loop_test(t, pausing_takes_no_memory, 0, FAULT_N_MANNERS * n_engines);
}

int main(void)
{
	return run_on_engines("health/fault_nth", add_tests);
}
