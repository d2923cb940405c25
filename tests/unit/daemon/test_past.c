/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of backends that are gone, for how long, and where it goes then. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "daemon/past.h"

#define HOUR PAST_KEEP_NS

static struct past past;
static struct past_pool pool, other;

static void setup(void)
{
	past_init(&past);
	past_pool_init(&pool);
	past_pool_init(&other);
}

static void teardown(void)
{
	past_pool_deinit(&past, &pool);
	past_pool_deinit(&past, &other);
	ck_assert_uint_eq(past.n, 0);
}

static void add(struct past_pool *p, const char *name, uint64_t total, uint64_t now_ns)
{
	struct backend_sums s = { total, 2 * total, 3 * total, 4 * total, 5 * total };
	struct past_record *r = past_record_new(name);

	ck_assert_ptr_nonnull(r);
	past_add(&past, p, r, &s, now_ns);
}

static size_t n_of(const struct past_pool *p)
{
	size_t n = 0;

	list_for_each(it, &p->records) n++;
	return n;
}

static void check(const struct backend_sums *s, uint64_t total)
{
	ck_assert_uint_eq(s->total, total);
	ck_assert_uint_eq(s->failed, 2 * total);
	ck_assert_uint_eq(s->bytes_in, 3 * total);
	ck_assert_uint_eq(s->bytes_out, 4 * total);
	ck_assert_uint_eq(s->check_failures, 5 * total);
}

/* The file has "a", and nothing else. */
static struct backend_sums a_sums;

static struct backend_sums *heir(void *arg, struct past_pool *p, const char *name)
{
	ck_assert_ptr_eq(arg, &a_sums);
	ck_assert(p == &pool || p == &other);
	return p == &pool && strcmp(name, "a") == 0 ? &a_sums : NULL;
}

static void expire(uint64_t now_ns)
{
	past_expire(&past, now_ns, heir, &a_sums);
}

START_TEST(it_is_kept_for_an_hour)
{
	a_sums = (struct backend_sums){ 0 };
	add(&pool, "a", 1, 100);
	add(&pool, "b", 10, 200);
	add(&other, "a", 100, 300);
	expire(99 + HOUR);
	ck_assert_uint_eq(n_of(&pool), 2);
	expire(100 + HOUR);
	ck_assert_uint_eq(n_of(&pool), 1);
	check(&a_sums, 1); /* the name is in the file again */
	check(&pool.sums, 0);
	expire(299 + HOUR);
	check(&pool.sums, 10);
	ck_assert_uint_eq(n_of(&other), 1);
	check(&other.sums, 0);
	expire(300 + HOUR);
	check(&other.sums, 100);
	check(&a_sums, 1);
	ck_assert_uint_eq(past.n, 0);
}
END_TEST

/* The oldest go first, whatever pool they are of. */
START_TEST(a_thousand_are_kept)
{
	char name[16];

	for (uint64_t i = 0; i < PAST_MAX + 5; i++) {
		snprintf(name, sizeof(name), "b%u", (unsigned)i);
		add(i % 2 == 0 ? &pool : &other, name, i + 1, 1000);
	}
	expire(1000);
	ck_assert_uint_eq(past.n, PAST_MAX);
	check(&pool.sums, 1 + 3 + 5);
	check(&other.sums, 2 + 4);
	ck_assert_uint_eq(n_of(&pool) + n_of(&other), PAST_MAX);
	ck_assert_str_eq(list_entry(pool.records.next, struct past_record, in_pool)->name, "b6");
}
END_TEST

START_TEST(one_that_did_nothing_leaves_nothing)
{
	add(&pool, "b", 0, 1);
	ck_assert_uint_eq(past.n, 0);
	ck_assert(list_is_empty(&pool.records));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, it_is_kept_for_an_hour);
	tcase_add_test(t, a_thousand_are_kept);
	tcase_add_test(t, one_that_did_nothing_leaves_nothing);
}

int main(void)
{
	return run_suite("daemon/past", add_tests);
}
