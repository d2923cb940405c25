/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "daemon/cert_watch.h"
#include "proxy/snapshot.h"
#include "util/log.h"

#define DAY 86400
#define NOW 1800000000u

/* ---- what the watch has written -------------------------------------------------------------- */

static char lines[8][LOG_LINE_MAX + 1];
static size_t n_lines;

static void take_line(void *arg, enum log_level level, const char *line, size_t n)
{
	(void)arg;
	ck_assert_int_eq(level, LOG_LEVEL_WARN);
	ck_assert_uint_lt(n_lines, ARRAY_SIZE(lines));
	(void)snprintf(lines[n_lines++], sizeof(lines[0]), "%.*s", (int)n, line);
}

static const struct log to_lines = { .max = LOG_LEVEL_DEBUG, .sink = take_line };

/* ---- snapshots ------------------------------------------------------------------------------- */

static char file_a[] = "/a.pem", file_b[] = "/b.pem";
static struct snapshot_cert certs[2][2];
static struct snapshot_listener listeners[2][2];
static struct snapshot snapshots[2];
static struct cert_watch watch;

/* Snapshot `i` has two listeners, which have the certificate a; the second one also has b. */
static void make_snapshot(int i, int64_t a_s, int64_t b_s)
{
	certs[i][0] = (struct snapshot_cert){ .file = file_a, .not_after_s = a_s };
	certs[i][1] = (struct snapshot_cert){ .file = file_b, .not_after_s = b_s };
	listeners[i][0] = (struct snapshot_listener){ .n_certs = 1, .certs = certs[i] };
	listeners[i][1] = (struct snapshot_listener){ .n_certs = 2, .certs = certs[i] };
	snapshots[i] = (struct snapshot){ .n_listeners = 2, .listeners = listeners[i] };
}

static void tick(int snapshot, uint64_t now_s)
{
	n_lines = 0;
	cert_watch_tick(&watch, &snapshots[snapshot], now_s, &to_lines);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int64_t left_s, days;
} ends[] = {
	{ "a day", DAY, 1 },
	{ "a second less", DAY - 1, 0 },
	{ "now", 0, 0 },
	{ "a second ago", -1, -1 },
	{ "a day ago", -DAY, -1 },
	{ "a day and a second ago", -DAY - 1, -2 },
	{ "ninety days", 90 * DAY, 90 },
};

START_TEST(days_are_rounded_down)
{
	ck_assert_msg(cert_days_left(NOW + ends[_i].left_s, NOW) == ends[_i].days, "%s",
		      ends[_i].name);
}
END_TEST

/* From 31 days before the end on, looking once an hour: one line at each threshold. */
START_TEST(each_threshold_is_told_once)
{
	static const char *const want[] = {
		"certificate expires soon file=/a.pem days_left=29",
		"certificate expires soon file=/a.pem days_left=13",
		"certificate expires soon file=/a.pem days_left=6",
		"certificate expires soon file=/a.pem days_left=0",
		"certificate has expired file=/a.pem",
	};
	size_t n = 0;

	make_snapshot(0, NOW, NOW + 1000 * DAY);
	for (uint64_t t = NOW - 31 * DAY; t < NOW + 3 * DAY; t += 3600) {
		tick(0, t);
		for (size_t i = 0; i < n_lines; i++, n++) {
			ck_assert_uint_lt(n, ARRAY_SIZE(want));
			ck_assert_str_eq(lines[i], want[n]);
		}
	}
	ck_assert_uint_eq(n, ARRAY_SIZE(want));
}
END_TEST

/* Two listeners have the certificate, and it is one line; one that has expired was told by the
 * load. */
START_TEST(the_first_look_tells_what_is_near)
{
	make_snapshot(0, NOW + 3 * DAY, NOW - DAY);
	tick(0, NOW);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_str_eq(lines[0], "certificate expires soon file=/a.pem days_left=3");
}
END_TEST

START_TEST(a_reload_repeats_nothing)
{
	make_snapshot(0, NOW + 3 * DAY, NOW + 20 * DAY);
	make_snapshot(1, NOW + 3 * DAY, NOW + 20 * DAY);
	tick(0, NOW);
	ck_assert_uint_eq(n_lines, 2);
	tick(1, NOW + 1);
	ck_assert_uint_eq(n_lines, 0);
}
END_TEST

START_TEST(a_renewed_certificate_begins_anew)
{
	make_snapshot(0, NOW + 3 * DAY, NOW + 90 * DAY);
	make_snapshot(1, NOW + 13 * DAY, NOW + 90 * DAY);
	tick(0, NOW);
	ck_assert_uint_eq(n_lines, 1);
	tick(1, NOW + 1);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_str_eq(lines[0], "certificate expires soon file=/a.pem days_left=12");
}
END_TEST

/* Between two looks a minute passes, unless the snapshot is another one. */
START_TEST(a_second_costs_nothing)
{
	make_snapshot(0, NOW + 30 * DAY + 1, NOW + 90 * DAY);
	tick(0, NOW);
	ck_assert_uint_eq(n_lines, 0);
	tick(0, NOW + 59);
	ck_assert_uint_eq(n_lines, 0);
	tick(0, NOW + 60);
	ck_assert_uint_eq(n_lines, 1);
}
END_TEST

START_TEST(without_tls_there_is_nothing)
{
	snapshots[0] = (struct snapshot){ .n_listeners = 2, .listeners = listeners[0] };
	listeners[0][0] = listeners[0][1] = (struct snapshot_listener){ 0 };
	tick(0, NOW);
	tick(0, NOW + 3600);
	ck_assert_uint_eq(n_lines, 0);
}
END_TEST

static void teardown(void)
{
	cert_watch_deinit(&watch);
}

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_loop_test(t, days_are_rounded_down, 0, (int)ARRAY_SIZE(ends));
	tcase_add_test(t, each_threshold_is_told_once);
	tcase_add_test(t, the_first_look_tells_what_is_near);
	tcase_add_test(t, a_reload_repeats_nothing);
	tcase_add_test(t, a_renewed_certificate_begins_anew);
	tcase_add_test(t, a_second_costs_nothing);
	tcase_add_test(t, without_tls_there_is_nothing);
}

int main(void)
{
	return run_suite("daemon/cert_watch", add_tests);
}
