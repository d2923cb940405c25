/* SPDX-License-Identifier: Apache-2.0 */
/* The sums of bounded loads among many members. */
#include <pthread.h>

#include "../suite.h"
#include "balance/bounded_load.h"
#include "fixture.h"

static const uint32_t equal[] = { 1 };
static const uint32_t weighted[] = { 1, 2, 5 };

static struct fixture many(size_t n, const uint32_t *weights, size_t n_weights, uint32_t percent)
{
	struct fixture f = fixture_new(n, weights, n_weights, CONF_BALANCE_HASH, percent);

	ck_assert_ptr_nonnull(f.m->bounded_load);
	return f;
}

static struct bounded_load_sums exact(const struct fixture *f)
{
	struct bounded_load_sums sums = { 0 };

	for (size_t i = 0; i < f->n; i++) {
		uint32_t max = backend_max_conns(f->b[i]), active = backend_active(f->b[i]);
		if (!backend_is_usable(f->b[i]) || (max != 0 && active >= max))
			continue;
		sums.active += active;
		sums.weight += backend_weight(f->b[i]);
	}
	return sums;
}

static void check(const struct fixture *f)
{
	struct bounded_load_sums want = exact(f), got = bounded_load_sums(f->m->bounded_load);

	ck_assert_uint_eq(got.active, want.active);
	ck_assert_uint_eq(got.weight, want.weight);
}

START_TEST(few_members_need_none)
{
	struct fixture f =
		fixture_new(BOUNDED_LOAD_MIN_MEMBERS - 1, equal, 1, CONF_BALANCE_HASH, 125);

	ck_assert_ptr_null(f.m->bounded_load);
	fixture_free(&f);
	f = fixture_new(BOUNDED_LOAD_MIN_MEMBERS, equal, 1, CONF_BALANCE_HASH, 0);
	ck_assert_ptr_null(f.m->bounded_load);
	fixture_free(&f);
}
END_TEST

START_TEST(picks_are_counted_at_once)
{
	struct fixture f = many(1000, weighted, 3, 125);

	for (uint64_t k = 0; k < 5000; k++) {
		check(&f);
		ck_assert_uint_ne(fixture_pick(&f, f.m, hash_mix(k, 1), 0), SIZE_MAX);
	}
	fixture_free(&f);
}
END_TEST

/* Loads change by ends, checks and commands, and by backends that become full. */
START_TEST(all_else_is_counted_in_a_round)
{
	struct fixture f = many(1000, weighted, 3, 200);

	for (uint64_t k = 0; k < 3000; k++)
		ck_assert_uint_ne(fixture_pick(&f, f.m, hash_mix(k, 1), 0), SIZE_MAX);
	for (size_t i = 0; i < f.n; i++) {
		if (i % 7 == 0 && backend_active(f.b[i]) > 0)
			backend_release(f.b[i]);
		if (i % 11 == 0)
			backend_set_health(f.b[i], BACKEND_DOWN, 1);
		if (i % 13 == 0)
			backend_set_max_conns(f.b[i], 1);
	}
	for (uint32_t k = 0; k < bounded_load_delay(f.m->bounded_load); k++)
		ck_assert_uint_ne(fixture_pick(&f, f.m, hash_mix(k, 4), 0), SIZE_MAX);
	check(&f);
	fixture_free(&f);
}
END_TEST

/* Few keys, so that without a bound some backends would have far too many. */
START_TEST(many_are_bounded)
{
	struct fixture f = many(1000, weighted, 3, 125);

	for (uint64_t k = 1; k <= 20000; k++) {
		size_t at = fixture_pick(&f, f.m, hash_mix(k % 5, 1), 0);
		uint64_t w = backend_weight(f.b[at]), total = f.m->total_weight;
		ck_assert_uint_le(backend_active(f.b[at]),
				  (k * 125 * w + 100 * total - 1) / (100 * total));
	}
	fixture_free(&f);
}
END_TEST

#define N_THREADS 4

struct churner {
	const struct members *m;
	uint64_t seed;
	size_t n_missed;
};

static void *churn(void *arg)
{
	struct churner *c = arg;

	for (uint64_t i = 0; i < 10000; i++) {
		struct pick k = { .key = hash_mix(i, c->seed) };
		struct backend *b = pool_pick(c->m, &k);
		c->n_missed += b == NULL;
		if (b != NULL && i % 4 != 0) /* some slots are kept */
			backend_release(b);
		backend_unref(b);
	}
	return NULL;
}

/* After one more round the sums are right, whatever the workers did at the same time. */
START_TEST(workers_share_it)
{
	struct fixture f = many(400, weighted, 3, 125);
	struct churner c[N_THREADS];
	pthread_t t[N_THREADS];

	for (size_t i = 0; i < N_THREADS; i++) {
		c[i] = (struct churner){ .m = f.m, .seed = i + 1 };
		ck_assert_int_eq(pthread_create(&t[i], NULL, churn, &c[i]), 0);
	}
	for (size_t i = 0; i < N_THREADS; i++) {
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
		ck_assert_uint_eq(c[i].n_missed, 0);
	}
	for (uint32_t k = 0; k < bounded_load_delay(f.m->bounded_load); k++)
		ck_assert_uint_ne(fixture_pick(&f, f.m, hash_mix(k, 5), 0), SIZE_MAX);
	check(&f);
	fixture_free(&f);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 60);
	tcase_add_test(t, few_members_need_none);
	tcase_add_test(t, picks_are_counted_at_once);
	tcase_add_test(t, all_else_is_counted_in_a_round);
	tcase_add_test(t, many_are_bounded);
	tcase_add_test(t, workers_share_it);
}

int main(void)
{
	return run_suite("balance/bounded_load", add_tests);
}
