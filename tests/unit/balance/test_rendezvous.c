/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of a key: walks agree with a plain look at all entries; hashes are fair to the second
 * position, too.
 */
#include "../suite.h"
#include "balance/rendezvous.h"
#include "fixture.h"

static const uint32_t equal[] = { 1 };
static const uint32_t few_weights[] = { 2, 1, 0, 5 };

/* Each weight that is possible, 0 included. */
static const uint32_t *all_weights(void)
{
	static uint32_t weights[257];

	for (uint32_t i = 0; i < 257; i++)
		weights[i] = i;
	return weights;
}

struct drawn {
	struct fixture f;
	struct members_entry *entry;
	struct rendezvous *best, *plain;
};

static struct drawn draw(size_t n, const uint32_t *weights, size_t n_weights)
{
	struct drawn d = { .f = fixture_new(n, weights, n_weights, CONF_BALANCE_FIRST, 0) };

	d.entry = calloc(n + 1, sizeof(*d.entry));
	for (size_t i = 0; i < n; i++)
		d.entry[i] = (struct members_entry){ d.f.b[i], backend_weight(d.f.b[i]) };
	d.best = rendezvous_new(d.entry, n, RENDEZVOUS_SCAN_BEST);
	d.plain = rendezvous_new(d.entry, n, RENDEZVOUS_SCAN_PLAIN);
	ck_assert(d.best != NULL && d.plain != NULL);
	return d;
}

static void undraw(struct drawn *d)
{
	rendezvous_free(d->best);
	rendezvous_free(d->plain);
	free(d->entry);
	fixture_free(&d->f);
}

/* ---- walks ------------------------------------------------------------------------------------
 */

static const struct {
	size_t n;
	bool has_all_weights;
} sizes[] = {
	{ 0, false },   { 1, false },  { 7, false },   { 8, false },   { 9, false },
	{ 128, false }, { 129, true }, { 300, false }, { 3000, true }, { 40000, false },
};

static bool is_not_seen(size_t index, void *arg)
{
	const bool *seen = arg;

	return !seen[index];
}

/*
 * Every entry with a weight comes once, in the same order on each CPU, and in the order that a look
 * at all entries gives.
 */
static void check_walk(const struct drawn *d, uint64_t key)
{
	struct rendezvous_walk best, plain;
	bool *seen = calloc(d->f.n + 1, sizeof(*seen));
	size_t n_seen = 0, n_weighted = 0;

	rendezvous_start(d->best, key, &best);
	rendezvous_start(d->plain, key, &plain);
	for (size_t i; (i = rendezvous_next(&best)) != RENDEZVOUS_END; n_seen++) {
		if (i != rendezvous_next(&plain) || seen[i])
			ck_abort_msg("place %zu of key %llx", n_seen, (unsigned long long)key);
		if (n_seen < 200)
			ck_assert_uint_eq(i, rendezvous_first_of(d->best, key, is_not_seen, seen));
		seen[i] = true;
	}
	ck_assert_uint_eq(rendezvous_next(&plain), RENDEZVOUS_END);
	for (size_t i = 0; i < d->f.n; i++)
		n_weighted += d->entry[i].weight > 0;
	ck_assert_uint_eq(n_seen, n_weighted);
	free(seen);
}

START_TEST(walks_visit_all_in_order)
{
	static const uint64_t extremes[] = { 0, UINT64_MAX, UINT32_MAX,
					     (uint64_t)UINT32_MAX << 32 };
	struct drawn d = sizes[_i].has_all_weights ? draw(sizes[_i].n, all_weights(), 257)
						   : draw(sizes[_i].n, equal, 1);

	for (size_t k = 0; k < ARRAY_SIZE(extremes); k++)
		check_walk(&d, extremes[k]);
	for (uint64_t k = 0; k < 10; k++)
		check_walk(&d, hash_mix(k, 1));
	undraw(&d);
}
END_TEST

START_TEST(few_weights_go_together)
{
	struct drawn d = draw(500, few_weights, 4);

	for (uint64_t k = 0; k < 50; k++)
		check_walk(&d, hash_mix(k, 2));
	undraw(&d);
}
END_TEST

/* ---- equal hashes -------------------------------------------------------------------------------
 */

#define N_NAMES 300000u /* among which ten pairs or so draw alike */

struct named {
	uint32_t i;
	uint64_t hash;
};

static int compare_named(const void *a, const void *b)
{
	const struct named *p = a, *q = b;

	return (p->hash > q->hash) - (p->hash < q->hash);
}

/* Two names, "n123", whose hashes are equal for all keys; the one of the lesser hash first. */
static void find_twins(char twin[2][16])
{
	struct named *all = calloc(N_NAMES, sizeof(*all));
	size_t at = 1;

	for (uint32_t i = 0; i < N_NAMES; i++) {
		int n = snprintf(twin[0], sizeof(twin[0]), "n%u", i);
		all[i] = (struct named){ .i = i, .hash = hash_bytes(twin[0], (size_t)n, 1) };
	}
	qsort(all, N_NAMES, sizeof(*all), compare_named);
	while (at < N_NAMES && all[at].hash >> 32 != all[at - 1].hash >> 32)
		at++;
	ck_assert_uint_lt(at, N_NAMES);
	for (size_t k = 0; k < 2; k++)
		(void)snprintf(twin[k], sizeof(twin[k]), "n%u", all[at - 1 + k].i);
	free(all);
}

/* The order of the names' hashes decides, not their order in the file. */
START_TEST(equal_hashes_are_told_apart)
{
	char name[2][16];
	struct members_entry e[3];

	find_twins(name);
	for (size_t swap = 0; swap < 2; swap++) {
		e[swap] = (struct members_entry){ fixture_backend(name[0], 3, 0), 3 };
		e[!swap] = (struct members_entry){ fixture_backend(name[1], 3, 0), 3 };
		e[2] = (struct members_entry){ fixture_backend("b", 3, 0), 3 };
		struct rendezvous *l = rendezvous_new(e, 3, RENDEZVOUS_SCAN_BEST);
		for (uint64_t k = 0; k < 100; k++) {
			struct rendezvous_walk w;
			size_t place[3];

			rendezvous_start(l, hash_mix(k, 3), &w);
			for (size_t p = 0; p < 3; p++) {
				size_t i = rendezvous_next(&w);
				ck_assert_uint_lt(i, 3);
				place[i] = p;
			}
			ck_assert_uint_eq(rendezvous_next(&w), RENDEZVOUS_END);
			ck_assert_uint_eq(place[swap] + 1, place[!swap]);
		}
		rendezvous_free(l);
		for (size_t i = 0; i < 3; i++)
			backend_unref(e[i].backend);
	}
}
END_TEST

/* ---- fairness ---------------------------------------------------------------------------------
 */

/*
 * The keys of a backend that is gone spread evenly over all others, and so do those of two: each
 * triple of backends is first in equally many orders, within 5 standard deviations. A weak hash
 * fails here.
 */
START_TEST(the_next_places_are_even)
{
	enum { N = 10, N_KEYS = 720 * 400 };
	static uint32_t got[N][N][N];
	struct drawn d = draw(N, equal, 1);

	for (uint32_t k = 0; k < N_KEYS; k++) {
		char text[16];
		int n = snprintf(text, sizeof(text), "user-%u", k);
		struct rendezvous_walk w;

		rendezvous_start(d.best, pool_key_of_bytes((struct slice){ text, (size_t)n }), &w);
		size_t first = rendezvous_next(&w), second = rendezvous_next(&w),
		       third = rendezvous_next(&w);
		got[first][second][third]++;
	}
	for (size_t i = 0; i < N * N * N; i++) {
		size_t a = i / 100, b = i / 10 % 10, c = i % 10;
		bool is_order = a != b && b != c && a != c;
		if (is_order ? got[a][b][c] < 300 || got[a][b][c] > 500 : got[a][b][c] > 0)
			ck_abort_msg("b%zu b%zu b%zu: %u", a, b, c, got[a][b][c]);
	}
	undraw(&d);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, walks_visit_all_in_order, 0, ARRAY_SIZE(sizes));
	tcase_add_test(t, few_weights_go_together);
	tcase_add_test(t, equal_hashes_are_told_apart);
	tcase_add_test(t, the_next_places_are_even);
}

int main(void)
{
	return run_suite("balance/rendezvous", add_tests);
}
