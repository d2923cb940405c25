/* SPDX-License-Identifier: Apache-2.0 */
/* The load index, tested by what least_connections picks among many members. */
#include <pthread.h>

#include "../suite.h"
#include "balance/load_index.h"
#include "fixture.h"

static const uint32_t equal[] = { 1 };
static const uint32_t weighted[] = { 1, 2, 5, 256 };

static struct fixture many(size_t n)
{
	struct fixture f = fixture_new(n, equal, 1, CONF_BALANCE_LEAST, 0);

	ck_assert_ptr_nonnull(f.m->load_index);
	return f;
}

static void occupy(const struct fixture *f, size_t i, uint32_t n)
{
	for (uint32_t c = 0; c < n; c++)
		if (!backend_reserve(f->b[i]))
			ck_abort_msg("b%zu is full", i);
}

static void release(const struct fixture *f, size_t i, uint32_t n)
{
	for (uint32_t c = 0; c < n; c++)
		backend_release(f->b[i]);
}

/* Makes the members again: the index is exact when it is made. */
static void reindex(struct fixture *f)
{
	members_unref(f->m);
	f->m = fixture_members(f, CONF_BALANCE_LEAST, 0, SIZE_MAX, false);
}

START_TEST(few_members_need_none)
{
	struct fixture f = fixture_new(LOAD_INDEX_MIN_MEMBERS - 1, equal, 1, CONF_BALANCE_LEAST, 0);

	ck_assert_ptr_null(f.m->load_index);
	fixture_free(&f);
}
END_TEST

/* Whether `a` comes before `b`: it is idle, or one more connection weighs less on it. */
static bool is_lighter(const struct backend *a, const struct backend *b)
{
	if (backend_active(a) == 0 || backend_active(b) == 0)
		return backend_active(a) == 0 && backend_active(b) > 0;
	return (uint64_t)(backend_active(a) + 1) * backend_weight(b) <
	       (uint64_t)(backend_active(b) + 1) * backend_weight(a);
}

/* While nothing ends, the index is exact. */
START_TEST(filling_is_exact)
{
	static const uint32_t *const of[] = { equal, weighted };
	static const size_t n_of[] = { 1, 4 };
	struct fixture f = fixture_new(1000, of[_i], n_of[_i], CONF_BALANCE_LEAST, 0);

	for (uint64_t n = 1; n <= 20000; n++) {
		size_t at = fixture_pick(&f, f.m, 0, hash_mix(n, 9));
		backend_release(f.b[at]);
		for (size_t i = 0; i < f.n; i++)
			if (is_lighter(f.b[i], f.b[at]))
				ck_abort_msg("b%zu was taken, b%zu is lighter", at, i);
		occupy(&f, at, 1);
	}
	fixture_free(&f);
}
END_TEST

/*
 * 10,000 backends have 100 connections each, and random ones end. No backend is ever given a
 * connection that lifts it over 102. At the end of each round no backend is below 98, although the
 * index sees ends with a delay.
 */
START_TEST(churn_stays_within_2_percent)
{
	struct fixture f = many(10000);
	const uint32_t n_rounds = 40, n_steps = 2500;
	size_t *open = calloc(1000000, sizeof(*open)); /* the backend of each connection */

	for (size_t i = 0; i < 1000000; i++) {
		open[i] = i % f.n;
		occupy(&f, open[i], 1);
	}
	reindex(&f);
	for (uint64_t step = 0; step < n_rounds * n_steps; step++) {
		size_t *c = &open[hash_mix(step, 1) % 1000000];
		backend_release(f.b[*c]);
		*c = fixture_pick(&f, f.m, 0, hash_mix(step, 2));
		if (backend_active(f.b[*c]) > 102)
			ck_abort_msg("b%zu was given its %u.", *c, backend_active(f.b[*c]));
		if (step % n_steps != 0)
			continue;
		for (size_t i = 0; i < f.n; i++)
			if (backend_active(f.b[i]) < 98)
				ck_abort_msg("b%zu has %u", i, backend_active(f.b[i]));
	}
	free(open);
	fixture_free(&f);
}
END_TEST

/* ---- what happens outside is noticed ----------------------------------------------------------
 */

enum change { UP, READY, RELEASED, MORE_ROOM, N_CHANGES };

static void hide(const struct fixture *f, size_t i, enum change how)
{
	switch (how) {
	case UP: backend_set_health(f->b[i], BACKEND_DOWN, 1); break;
	case READY: backend_set_admin(f->b[i], BACKEND_DRAIN); break;
	case RELEASED: occupy(f, i, 5); break;
	case MORE_ROOM: backend_set_max_conns(f->b[i], 1); break;
	case N_CHANGES: ck_abort();
	}
}

static void show(const struct fixture *f, size_t i, enum change how)
{
	switch (how) {
	case UP: backend_set_health(f->b[i], BACKEND_UP, 2); break;
	case READY: backend_set_admin(f->b[i], BACKEND_READY); break;
	case RELEASED: release(f, i, 5); break;
	case MORE_ROOM: backend_set_max_conns(f->b[i], 0); break;
	case N_CHANGES: ck_abort();
	}
}

/*
 * A backend with fewer connections than all others is picked when its block's turn has come, and
 * not before.
 */
START_TEST(a_change_is_noticed_in_a_round)
{
	struct fixture f = many(1000);
	const size_t hidden = 777;
	uint32_t n_picks = 0;

	for (size_t i = 0; i < f.n; i++)
		occupy(&f, i, i == hidden ? 1 : 5);
	hide(&f, hidden, _i);
	reindex(&f);
	for (uint64_t k = 0; k < 500; k++)
		ck_assert_uint_ne(fixture_pick(&f, f.m, 0, hash_mix(k, 3)), hidden);

	show(&f, hidden, _i);
	do
		ck_assert_uint_lt(n_picks++, load_index_delay(f.m->load_index) + 1);
	while (fixture_pick(&f, f.m, 0, hash_mix(n_picks, 4)) != hidden);
	fixture_free(&f);
}
END_TEST

/*
 * A backend that becomes unusable is not picked again, whatever the words of the index say, and the
 * others stay balanced.
 */
START_TEST(a_loss_is_noticed_at_once)
{
	struct fixture f = many(1000);
	const size_t gone = 777;

	for (size_t i = 0; i < f.n; i++)
		occupy(&f, i, i == gone ? 1 : 5 + (uint32_t)(i / 32 == gone / 32));
	reindex(&f);
	if (_i == RELEASED)
		occupy(&f, gone, 5);
	else
		hide(&f, gone, _i);
	for (uint64_t k = 0; k < 500; k++) {
		size_t at = fixture_pick(&f, f.m, 0, hash_mix(k, 3));
		ck_assert_uint_ne(at, gone);
		ck_assert_uint_le(backend_active(f.b[at]), 6); /* not a neighbour of `gone` */
	}
	fixture_free(&f);
}
END_TEST

START_TEST(the_last_one_is_found)
{
	struct fixture f = many(1000);

	for (size_t i = 0; i < f.n; i++)
		backend_set_health(f.b[i], BACKEND_DOWN, 1);
	for (size_t last = 0; last < f.n;
	     last += 37) { /* the index learns of each change too late */
		ck_assert_uint_eq(fixture_pick(&f, f.m, 0, hash_mix(last, 1)), SIZE_MAX);
		backend_set_health(f.b[last], BACKEND_UP, 2);
		for (uint64_t k = 0; k < 5; k++)
			ck_assert_uint_eq(fixture_pick(&f, f.m, 0, hash_mix(k, 6)), last);
		backend_set_health(f.b[last], BACKEND_DOWN, 3);
	}
	fixture_free(&f);
}
END_TEST

START_TEST(every_slot_is_found)
{
	struct fixture f = many(300);

	for (size_t i = 0; i < f.n; i++)
		backend_set_max_conns(f.b[i], 3);
	for (uint64_t k = 0; k < 900; k++)
		ck_assert_uint_ne(fixture_pick(&f, f.m, 0, hash_mix(k, 7)), SIZE_MAX);
	ck_assert_uint_eq(fixture_pick(&f, f.m, 0, 1), SIZE_MAX);
	backend_release(f.b[123]);
	ck_assert_uint_eq(fixture_pick(&f, f.m, 0, 1), 123);
	fixture_free(&f);
}
END_TEST

/* ---- retries ----------------------------------------------------------------------------------
 */

/*
 * A backend that takes no connection is always the least loaded; the connections that it refuses go
 * evenly to all others.
 */
START_TEST(retries_spread_over_all)
{
	struct fixture f = many(1000);

	for (uint64_t n = 0; n < 5000; n++) {
		struct pick k = { .random = hash_mix(n, 1) };
		struct backend *b = pool_pick(f.m, &k);
		while (b == f.b[500]) {
			backend_release(b);
			backend_unref(b);
			k.random = hash_mix(n, 2);
			b = pool_pick(f.m, &k);
		}
		ck_assert_uint_le(backend_active(b), n / 999 + 1);
		backend_unref(b);
	}
	ck_assert_uint_eq(backend_active(f.b[500]), 0);
	fixture_free(&f);
}
END_TEST

START_TEST(no_retry_takes_one_twice)
{
	struct fixture f = many(300);
	struct pick k = { .random = 5 };

	for (uint32_t i = 0; i < PICK_MAX_TRIED; i++) {
		struct backend *b = pool_pick(f.m, &k);
		ck_assert_ptr_nonnull(b);
		ck_assert_uint_eq(backend_active(b), 1);
		backend_release(b); /* it stays the least loaded */
		backend_unref(b);
		for (uint32_t t = 0; t < i; t++)
			ck_assert_ptr_ne(k.tried[t], b);
	}
	fixture_free(&f);
}
END_TEST

/* ---- fairness and threads ---------------------------------------------------------------------
 */

/* Idle backends are picked in turn, also in a block whose other backends are down. */
START_TEST(ties_are_taken_in_turn)
{
	struct fixture f = many(400);

	for (size_t i = 1; i < 30; i++)
		backend_set_health(f.b[i], BACKEND_DOWN, 1);
	reindex(&f);
	for (uint64_t round = 0; round < 200; round++) {
		bool seen[400] = { false };
		for (uint64_t i = 0; i < 371; i++) {
			size_t at = fixture_pick(&f, f.m, 0, hash_mix(round, i));
			if (seen[at])
				ck_abort_msg("b%zu again, in round %d", at, (int)round);
			seen[at] = true;
			backend_release(f.b[at]);
		}
	}
	fixture_free(&f);
}
END_TEST

/*
 * Of idle backends with different weights each is picked as often as its weight says, also among
 * many.
 */
START_TEST(ties_are_shared_by_weight)
{
	static const uint32_t weights[] = { 1, 2, 5 };
	const uint32_t n_cycles = 50, cycle = 100 * (1 + 2 + 5);
	struct fixture f = fixture_new(300, weights, 3, CONF_BALANCE_LEAST, 0);
	static uint32_t got[300];

	ck_assert_ptr_nonnull(f.m->load_index);
	for (uint64_t i = 0; i < n_cycles * cycle; i++) {
		size_t at = fixture_pick(&f, f.m, 0, hash_mix(i, 2));
		got[at]++;
		backend_release(f.b[at]);
	}
	for (size_t i = 0; i < f.n; i++)
		ck_assert_msg(got[i] + 3 >= n_cycles * weights[i % 3] &&
				      got[i] <= n_cycles * weights[i % 3] + 3,
			      "b%zu of weight %u: %u", i, weights[i % 3], got[i]);
	fixture_free(&f);
}
END_TEST

/* Among backends that were never picked, a random one is first. */
START_TEST(the_first_pick_is_random)
{
	struct fixture f = many(300);
	size_t first[300] = { 0 };

	for (uint64_t i = 0; i < 300 * 50; i++) {
		size_t at = fixture_pick(&f, f.m, 0, hash_mix(i, 8));
		first[at]++;
		backend_release(f.b[at]);
		backend_set_turn(f.b[at], 0);
		reindex(&f);
	}
	for (size_t i = 0; i < f.n; i++) /* 5 standard deviations */
		ck_assert_msg(first[i] > 15 && first[i] < 90, "b%zu: %zu", i, first[i]);
	fixture_free(&f);
}
END_TEST

#define N_THREADS 4
#define N_HELD 1000
#define MAX 12

struct churner {
	const struct members *m;
	uint64_t seed;
	size_t n_over, n_missed;
	struct backend *held[N_HELD];
};

static void *churn(void *arg)
{
	struct churner *c = arg;

	for (uint64_t i = 0; i < 10 * N_HELD; i++) {
		struct pick k = { .random = hash_mix(i, c->seed) };
		struct backend **b = &c->held[hash_mix(c->seed, i) % N_HELD];
		if (*b != NULL) {
			backend_release(*b);
			backend_unref(*b);
		}
		*b = pool_pick(c->m, &k);
		c->n_missed += *b == NULL;
		c->n_over += *b != NULL && backend_active(*b) > MAX;
	}
	return NULL;
}

/*
 * Workers share the words: each pick finds a backend, none takes a slot too many, and loads stay
 * even.
 */
START_TEST(workers_share_it)
{
	static struct churner c[N_THREADS];
	struct fixture f = many(400);
	pthread_t t[N_THREADS];

	for (size_t i = 0; i < f.n; i++)
		backend_set_max_conns(f.b[i], MAX);
	for (size_t i = 0; i < N_THREADS; i++) {
		c[i] = (struct churner){ .m = f.m, .seed = i + 1 };
		ck_assert_int_eq(pthread_create(&t[i], NULL, churn, &c[i]), 0);
	}
	for (size_t i = 0; i < N_THREADS; i++) {
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
		ck_assert_uint_eq(c[i].n_missed, 0);
		ck_assert_uint_eq(c[i].n_over, 0);
		for (size_t k = 0; k < N_HELD; k++)
			backend_unref(c[i].held[k]);
	}
	fixture_free(&f);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 60);
	tcase_add_test(t, few_members_need_none);
	tcase_add_loop_test(t, filling_is_exact, 0, 2);
	tcase_add_test(t, churn_stays_within_2_percent);
	tcase_add_loop_test(t, a_change_is_noticed_in_a_round, 0, N_CHANGES);
	tcase_add_loop_test(t, a_loss_is_noticed_at_once, 0, N_CHANGES);
	tcase_add_test(t, the_last_one_is_found);
	tcase_add_test(t, every_slot_is_found);
	tcase_add_test(t, retries_spread_over_all);
	tcase_add_test(t, no_retry_takes_one_twice);
	tcase_add_test(t, ties_are_taken_in_turn);
	tcase_add_test(t, ties_are_shared_by_weight);
	tcase_add_test(t, the_first_pick_is_random);
	tcase_add_test(t, workers_share_it);
}

int main(void)
{
	return run_suite("balance/load_index", add_tests);
}
