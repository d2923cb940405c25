/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "ev/timer.h"
#include "util/assert.h"

/* A timer that notes when it has fired, and then starts or stops another one. */
struct probe {
	struct timer timer; /* first */
	unsigned n_fired;
	uint64_t fired_ms;
	struct probe *stops, *starts;
	uint64_t in_ms;
};

static struct timer_wheel wheel;

static void on_fire(struct timer *t, void *arg)
{
	struct probe *p = (struct probe *)t;
	struct timer_wheel *w = arg;

	ck_assert(!timer_is_running(t));
	p->n_fired++;
	p->fired_ms = w->clock_ms;
	if (p->stops != NULL)
		timer_stop(w, &p->stops->timer);
	if (p->starts != NULL)
		timer_start(w, &p->starts->timer, p->in_ms);
}

static void probe_init(struct probe *p)
{
	memset(p, 0, sizeof(*p));
	timer_init(&p->timer, on_fire);
}

static void wheel_at(uint64_t now_ms)
{
	timer_wheel_init(&wheel, now_ms, &wheel);
}

#define DAY 86400000ull
#define TOP_TURN (1ull << 36) /* where the top level wraps */

/* clang-format off */
static const struct {
	const char *name;
	uint64_t now_ms, in_ms;
} waits[] = {
	{ "at once",                      1000,           0 },
	{ "a millisecond",                1000,           1 },
	{ "end of level 0",               0,              63 },
	{ "level 1",                      0,              64 },
	{ "over a level's edge",          63,             1 },
	{ "over two levels' edge",        4095,           1 },
	{ "just short of an edge",        1,              4094 },
	{ "seconds",                      123456789,      3000 },
	{ "hours",                        123456789,      10 * 3600000ull },
	{ "days",                         987654321,      40 * DAY },
	{ "years",                        987654321,      790 * DAY },
	{ "the top level wraps soon",     TOP_TURN - 10,  3000 },
	{ "the top level wraps later",    TOP_TURN - DAY, 30 * DAY },
	{ "most of a round over a wrap",  TOP_TURN / 2,   TOP_TURN - 5 },
	{ "a round of the top level",     12345,          TOP_TURN },
	{ "farther than a round",         12345,          3 * TOP_TURN + 77 },
};
/* clang-format on */

/* Goes from wake-up to wake-up, as the loop does: there are few wake-ups, and none is too late. */
START_TEST(fires_at_its_time)
{
	struct probe p;
	uint64_t now_ms = waits[_i].now_ms, at_ms = now_ms + waits[_i].in_ms;
	int n = 0;

	wheel_at(now_ms);
	probe_init(&p);
	timer_start(&wheel, &p.timer, waits[_i].in_ms);
	while (p.n_fired == 0) {
		uint64_t wait_ms = timer_wheel_wait_ms(&wheel);
		ck_assert_msg(now_ms + wait_ms <= at_ms, "%s: too late", waits[_i].name);
		now_ms += wait_ms;
		timer_wheel_advance(&wheel, now_ms);
		ck_assert_msg(n++ < 20, "%s: too many wake-ups", waits[_i].name);
	}
	ck_assert_msg(p.fired_ms == at_ms, "%s: too early", waits[_i].name);
	ck_assert_uint_eq(timer_wheel_wait_ms(&wheel), UINT64_MAX);
	timer_wheel_advance(&wheel, now_ms + TOP_TURN);
	ck_assert_uint_eq(p.n_fired, 1);
}
END_TEST

START_TEST(fires_when_time_jumps_over_it)
{
	struct probe p;
	uint64_t at_ms = waits[_i].now_ms + waits[_i].in_ms;

	wheel_at(waits[_i].now_ms);
	probe_init(&p);
	timer_start(&wheel, &p.timer, waits[_i].in_ms);
	if (waits[_i].in_ms > 0) {
		timer_wheel_advance(&wheel, at_ms - 1);
		ck_assert_uint_eq(p.n_fired, 0);
	}
	timer_wheel_advance(&wheel, at_ms + 5 * DAY);
	ck_assert_msg(p.n_fired == 1, "%s", waits[_i].name);
}
END_TEST

START_TEST(endless_is_endless)
{
	struct probe p;

	wheel_at(7);
	probe_init(&p);
	timer_start(&wheel, &p.timer, UINT64_MAX);
	timer_wheel_advance(&wheel, 1000 * TOP_TURN);
	ck_assert_uint_eq(p.n_fired, 0);
	ck_assert(timer_is_running(&p.timer));
}
END_TEST

START_TEST(stopped_does_not_fire)
{
	struct probe p[3];

	wheel_at(50);
	for (int i = 0; i < 3; i++) {
		probe_init(&p[i]);
		timer_start(&wheel, &p[i].timer, 100);
	}
	timer_stop(&wheel, &p[1].timer);
	timer_stop(&wheel, &p[1].timer);
	ck_assert(!timer_is_running(&p[1].timer));
	timer_wheel_advance(&wheel, 150);
	ck_assert_uint_eq(p[0].n_fired, 1);
	ck_assert_uint_eq(p[1].n_fired, 0);
	ck_assert_uint_eq(p[2].n_fired, 1);

	/* A stopped timer causes no wake-up. */
	timer_start(&wheel, &p[1].timer, 100);
	timer_stop(&wheel, &p[1].timer);
	ck_assert_uint_eq(timer_wheel_wait_ms(&wheel), UINT64_MAX);
}
END_TEST

START_TEST(restarted_fires_at_its_new_time)
{
	struct probe p;

	wheel_at(0);
	probe_init(&p);
	timer_start(&wheel, &p.timer, 10);
	timer_wheel_advance(&wheel, 9);
	timer_start(&wheel, &p.timer, 10);
	timer_wheel_advance(&wheel, 18);
	ck_assert_uint_eq(p.n_fired, 0);
	timer_wheel_advance(&wheel, 19);
	ck_assert_uint_eq(p.n_fired, 1);
}
END_TEST

/* Two timers that are due together stop each other: exactly one fires. */
START_TEST(may_stop_what_is_due_too)
{
	struct probe a, b;

	wheel_at(0);
	probe_init(&a);
	probe_init(&b);
	a.stops = &b;
	b.stops = &a;
	timer_start(&wheel, &a.timer, 20);
	timer_start(&wheel, &b.timer, _i == 0 ? 20 : 30);
	timer_wheel_advance(&wheel, 40);
	ck_assert_uint_eq(a.n_fired + b.n_fired, 1);
	ck_assert(!timer_is_running(&a.timer) && !timer_is_running(&b.timer));
}
END_TEST

START_TEST(may_restart_what_is_due_too)
{
	struct probe a, b;

	wheel_at(0);
	probe_init(&a);
	probe_init(&b);
	a.starts = &b;
	a.in_ms = 5;
	timer_start(&wheel, &b.timer, 30);
	timer_start(&wheel, &a.timer, 20);
	timer_wheel_advance(&wheel, 40);
	ck_assert_uint_eq(a.n_fired, 1);
	ck_assert_uint_eq(b.n_fired, 0);
	timer_wheel_advance(&wheel, 45);
	ck_assert_uint_eq(b.n_fired, 1);
}
END_TEST

/*
 * A timer that is started by a timer_fn that runs late counts from now, and does not fire before
 * its time.
 */
START_TEST(late_ones_are_not_made_up_for)
{
	struct probe p;

	wheel_at(0);
	probe_init(&p);
	p.starts = &p;
	p.in_ms = 10;
	timer_start(&wheel, &p.timer, 10);
	timer_wheel_advance(&wheel, 1000);
	ck_assert_uint_eq(p.n_fired, 1);
	timer_wheel_advance(&wheel, 1009);
	ck_assert_uint_eq(p.n_fired, 1);
	timer_wheel_advance(&wheel, 1010);
	ck_assert_uint_eq(p.n_fired, 2);
}
END_TEST

START_TEST(at_once_is_the_next_advance)
{
	struct probe p;

	wheel_at(60);
	probe_init(&p);
	p.starts = &p;
	timer_start(&wheel, &p.timer, 5);
	timer_wheel_advance(&wheel, 200);
	for (unsigned n = 1; n < 5; n++) {
		ck_assert_uint_eq(p.n_fired, n);
		ck_assert_uint_eq(timer_wheel_wait_ms(&wheel), 0);
		timer_wheel_advance(&wheel, 200);
	}
}
END_TEST

/* While completions are served the clock is ahead of the wheel. */
START_TEST(counts_from_the_clock)
{
	struct probe p;

	wheel_at(100);
	probe_init(&p);
	wheel.clock_ms = 150;
	timer_start(&wheel, &p.timer, 10);
	timer_wheel_advance(&wheel, 159);
	ck_assert_uint_eq(p.n_fired, 0);
	timer_wheel_advance(&wheel, 160);
	ck_assert_uint_eq(p.n_fired, 1);
}
END_TEST

/* Many timers, random starts, stops and jumps, against a plain table of deadlines. */
START_TEST(agrees_with_a_plain_table)
{
	enum { N = 200, STEPS = 10000 };
	static struct probe p[N];
	uint64_t at_ms[N], now_ms = TOP_TURN - 500000;

	srand((unsigned)_i + 1);
	wheel_at(now_ms);
	for (int i = 0; i < N; i++) {
		probe_init(&p[i]);
		at_ms[i] = UINT64_MAX;
	}
	for (int step = 0; step < STEPS; step++) {
		int i = rand() % N;
		uint64_t in_ms = (uint64_t)rand() >> rand() % 31;
		switch (rand() % 4) {
		case 0:
			timer_stop(&wheel, &p[i].timer);
			at_ms[i] = UINT64_MAX;
			continue;
		case 1:
		case 2:
			timer_start(&wheel, &p[i].timer, in_ms);
			at_ms[i] = now_ms + in_ms;
			continue;
		}
		uint64_t wait_ms = timer_wheel_wait_ms(&wheel);
		uint64_t jump_ms = (uint64_t)rand() % 2000 >> rand() % 11;
		now_ms += rand() % 64 == 0 ? in_ms : jump_ms;
		bool is_woken = false;
		for (int k = 0; k < N; k++)
			is_woken = is_woken || at_ms[k] <= now_ms;
		ck_assert(!is_woken || wait_ms <= now_ms - wheel.now_ms);
		timer_wheel_advance(&wheel, now_ms);
		for (int k = 0; k < N; k++) {
			bool is_due = at_ms[k] <= now_ms;
			bool is_running = !is_due && at_ms[k] != UINT64_MAX;
			/*
			 * One assertion for all, because libcheck notes every assertion, and these
			 * would be millions.
			 */
			if (p[k].n_fired != is_due || timer_is_running(&p[k].timer) != is_running)
				ck_abort_msg("step %d, timer %d", step, k);
			if (p[k].n_fired > 0)
				at_ms[k] = UINT64_MAX;
			p[k].n_fired = 0;
		}
	}
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, fires_at_its_time, 0, ARRAY_SIZE(waits));
	tcase_add_loop_test(t, fires_when_time_jumps_over_it, 0, ARRAY_SIZE(waits));
	tcase_add_test(t, endless_is_endless);
	tcase_add_test(t, stopped_does_not_fire);
	tcase_add_test(t, restarted_fires_at_its_new_time);
	tcase_add_loop_test(t, may_stop_what_is_due_too, 0, 2);
	tcase_add_test(t, may_restart_what_is_due_too);
	tcase_add_test(t, late_ones_are_not_made_up_for);
	tcase_add_test(t, at_once_is_the_next_advance);
	tcase_add_test(t, counts_from_the_clock);
	tcase_add_loop_test(t, agrees_with_a_plain_table, 0, 10);
}

int main(void)
{
	return run_suite("ev/timer", add_tests);
}
