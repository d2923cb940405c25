/* SPDX-License-Identifier: Apache-2.0 */
/* What all policies promise, and what each of them promises (hash: test_policy_hash.c). */
#include <pthread.h>

#include "../suite.h"
#include "fixture.h"

static const uint32_t equal[] = { 1 };
static const uint32_t weighted[] = { 1, 2, 1 };

static const struct {
	const char *name;
	enum conf_balance balance;
} policies[] = {
	{ "least_connections", CONF_BALANCE_LEAST },
	{ "round_robin", CONF_BALANCE_ROUND_ROBIN },
	{ "random", CONF_BALANCE_RANDOM },
	{ "hash", CONF_BALANCE_HASH },
	{ "first", CONF_BALANCE_FIRST },
};

/* Each way of not being usable, and what undoes it. */
enum unusable { DOWN, DRAINING, MAINT, FULL, N_UNUSABLE };

static void make(struct backend *b, enum unusable how)
{
	switch (how) {
	case DOWN: backend_set_health(b, BACKEND_DOWN, 1); break;
	case DRAINING: backend_set_admin(b, BACKEND_DRAIN); break;
	case MAINT: backend_set_admin(b, BACKEND_MAINT); break;
	case FULL: {
		backend_set_max_conns(b, 1);
		bool had_room = backend_reserve(b);
		ck_assert(had_room);
		break;
	}
	case N_UNUSABLE: ck_abort();
	}
}

START_TEST(the_unusable_are_passed_over)
{
	for (enum unusable how = DOWN; how < N_UNUSABLE; how++) {
		struct fixture f = fixture_new(3, equal, 1, policies[_i].balance, 0);

		make(f.b[1], how);
		for (uint64_t k = 0; k < 300; k++)
			ck_assert_msg(fixture_pick(&f, f.m, hash_mix(k, 1), hash_mix(k, 2)) != 1,
				      "%s, state %d", policies[_i].name, how);
		make(f.b[0], DOWN);
		make(f.b[2], DOWN);
		ck_assert_uint_eq(fixture_pick(&f, f.m, 1, 2), SIZE_MAX);
		fixture_free(&f);
	}
}
END_TEST

START_TEST(weight_0_takes_nothing)
{
	static const uint32_t weights[] = { 1, 0, 3 };
	static const uint32_t none[] = { 0 };
	struct fixture f = fixture_new(3, weights, 3, policies[_i].balance, 0);

	for (uint64_t k = 0; k < 300; k++)
		ck_assert_uint_ne(fixture_pick(&f, f.m, hash_mix(k, 1), hash_mix(k, 2)), 1);
	fixture_free(&f);
	f = fixture_new(3, none, 1, policies[_i].balance, 0);
	ck_assert_uint_eq(fixture_pick(&f, f.m, 1, 2), SIZE_MAX);
	fixture_free(&f);
}
END_TEST

START_TEST(retries_try_each_once)
{
	struct fixture f = fixture_new(5, weighted, 3, policies[_i].balance, 0);
	struct pick k = { .key = 77 };
	bool seen[5] = { false };

	for (int i = 0; i < 5; i++) {
		k.random = hash_mix(5, (uint64_t)i);
		struct backend *b = pool_pick(f.m, &k);
		ck_assert_ptr_nonnull(b);
		size_t at = fixture_index(&f, b);
		ck_assert_msg(!seen[at], "%s tried b%zu twice", policies[_i].name, at);
		seen[at] = true;
		backend_unref(b);
	}
	ck_assert_ptr_null(pool_pick(f.m, &k));
	fixture_free(&f);
}
END_TEST

/* ---- max_connections under contention ---------------------------------------------------------
 */

#define MAX 7u
#define ROUNDS 20000

struct hammer {
	const struct members *m;
	struct backend **b;
	uint64_t seed;
	_Atomic uint32_t *over;
	uint32_t n_picked;
};

static void *hammer(void *arg)
{
	struct hammer *h = arg;

	for (uint64_t i = 0; i < ROUNDS; i++) {
		struct pick k = { .key = hash_mix(h->seed, i), .random = hash_mix(i, h->seed) };
		struct backend *b = pool_pick(h->m, &k);
		if (b == NULL)
			continue;
		h->n_picked++;
		if (backend_active(b) > MAX)
			atomic_fetch_add(h->over, 1);
		if (i % 3 != 0) /* some slots are kept, so that all backends fill up */
			backend_release(b);
		backend_unref(b);
	}
	return NULL;
}

START_TEST(max_connections_is_never_exceeded)
{
	struct fixture f = fixture_new(3, equal, 1, policies[_i].balance, 0);
	_Atomic uint32_t over = 0;
	struct hammer h[4];
	pthread_t t[4];

	for (size_t i = 0; i < f.n; i++)
		backend_set_max_conns(f.b[i], MAX);
	for (size_t i = 0; i < 4; i++) {
		h[i] = (struct hammer){ .m = f.m, .b = f.b, .seed = i, .over = &over };
		ck_assert_int_eq(pthread_create(&t[i], NULL, hammer, &h[i]), 0);
	}
	uint32_t n_picked = 0;
	for (size_t i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
		n_picked += h[i].n_picked;
	}
	ck_assert_uint_eq(over, 0);
	ck_assert_uint_ge(n_picked, 3 * MAX);
	for (size_t i = 0; i < f.n; i++)
		ck_assert_uint_eq(backend_active(f.b[i]), MAX);
	fixture_free(&f);
}
END_TEST

/* ---- one is always found ----------------------------------------------------------------------
 */

#define SEEKS 200000 /* enough for the workers' tickets to fall into step now and then */

struct seeker {
	const struct members *m;
	uint64_t seed;
	uint32_t n_missed;
};

static void *seek(void *arg)
{
	struct seeker *s = arg;

	for (uint64_t i = 0; i < SEEKS; i++) {
		struct pick k = { .key = hash_mix(s->seed, i), .random = hash_mix(i, s->seed) };
		struct backend *b = pool_pick(s->m, &k);
		if (b == NULL) {
			s->n_missed++;
			continue;
		}
		backend_release(b);
		backend_unref(b);
	}
	return NULL;
}

/*
 * While one of two backends is down, every pick finds the other one, whatever other threads draw
 * meanwhile.
 */
START_TEST(the_last_one_is_found_by_all)
{
	struct fixture f = fixture_new(2, equal, 1, policies[_i].balance, 105);
	struct seeker s[4];
	pthread_t t[4];

	backend_set_health(f.b[0], BACKEND_DOWN, 1);
	for (size_t i = 0; i < 4; i++) {
		s[i] = (struct seeker){ .m = f.m, .seed = i };
		ck_assert_int_eq(pthread_create(&t[i], NULL, seek, &s[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
		ck_assert_msg(s[i].n_missed == 0, "%s: %u picks", policies[_i].name, s[i].n_missed);
	}
	fixture_free(&f);
}
END_TEST

START_TEST(no_members_no_pick)
{
	struct fixture f = fixture_new(0, equal, 1, policies[_i].balance, 0);

	ck_assert_uint_eq(fixture_pick(&f, f.m, 1, 2), SIZE_MAX);
	fixture_free(&f);
}
END_TEST

/* ---- least_connections ------------------------------------------------------------------------
 */

START_TEST(least_is_within_one_of_exact)
{
	struct fixture f = fixture_new(3, weighted, 3, CONF_BALANCE_LEAST, 0);

	for (uint64_t n = 1; n <= 400; n++) {
		ck_assert_uint_ne(fixture_pick(&f, f.m, 0, hash_mix(n, 9)), SIZE_MAX);
		for (size_t i = 0; i < 3; i++) {
			double exact = (double)n * weighted[i] / 4;
			double off = (double)backend_active(f.b[i]) - exact;
			ck_assert_msg(off <= 1 && off >= -1, "n=%d: b%zu is off by %f", (int)n, i,
				      off);
		}
	}
	fixture_free(&f);
}
END_TEST

/* Whether `b` can be picked, by what the policy promises. */
static bool may_be_picked(const struct backend *b)
{
	uint32_t max = backend_max_conns(b);

	return backend_weight(b) > 0 && backend_is_usable(b) &&
	       (max == 0 || backend_active(b) < max);
}

/* The load that is compared, in a fraction that is exact for weights up to 6. */
static uint32_t load_of(uint32_t active, uint32_t weight)
{
	return active == 0 ? 0 : (active + 1) * 60 / weight;
}

/* Beside a plain model, while connections come and end, and backends change, at random. */
START_TEST(least_agrees_with_a_plain_model)
{
	uint64_t seed = (uint64_t)_i;
	uint32_t weights[6];
	size_t n = 2 + hash_mix(seed, 20) % 5, open = 0;

	for (size_t i = 0; i < n; i++)
		weights[i] = (uint32_t)(hash_mix(seed, 30 + i) % 7);
	struct fixture f = fixture_new(n, weights, n, CONF_BALANCE_LEAST, 0);
	for (uint64_t step = 0; step < 2000; step++) {
		uint64_t random = hash_mix(step, seed);
		struct backend *b = f.b[random % n];
		uint32_t before[6], least = UINT32_MAX;

		if (random >> 8 & 1 && backend_active(b) > 0) {
			backend_release(b);
			open--;
		}
		if ((random >> 16) % 16 == 0)
			backend_set_health(b, random >> 32 & 1 ? BACKEND_UP : BACKEND_DOWN, step);
		if ((random >> 24) % 16 == 0)
			backend_set_max_conns(b, (uint32_t)(random >> 40) % 8);
		for (size_t i = 0; i < n; i++) {
			before[i] = backend_active(f.b[i]);
			uint32_t load = weights[i] > 0 ? load_of(before[i], weights[i]) : 0;
			if (may_be_picked(f.b[i]) && load < least)
				least = load;
		}
		size_t at = fixture_pick(&f, f.m, 0, random);
		ck_assert_msg((at == SIZE_MAX) == (least == UINT32_MAX), "step %d", (int)step);
		if (at == SIZE_MAX)
			continue;
		open++;
		ck_assert_uint_eq(backend_active(f.b[at]), before[at] + 1);
		ck_assert_msg(load_of(before[at], weights[at]) == least, "step %d: b%zu", (int)step,
			      at);
	}
	size_t active = 0;
	for (size_t i = 0; i < n; i++)
		active += backend_active(f.b[i]);
	ck_assert_uint_eq(active, open);
	fixture_free(&f);
}
END_TEST

/*
 * Open connections count: beside two backends with 100 each, an empty third one gets the next 90.
 */
START_TEST(least_counts_the_living)
{
	struct fixture f = fixture_new(3, equal, 1, CONF_BALANCE_LEAST, 0);
	size_t got[3] = { 0 };

	for (int i = 0; i < 100; i++)
		ck_assert(backend_reserve(f.b[0]) && backend_reserve(f.b[1]));
	for (uint64_t i = 0; i < 90; i++)
		got[fixture_pick(&f, f.m, 0, hash_mix(i, 3))]++;
	ck_assert_uint_eq(got[0], 0);
	ck_assert_uint_eq(got[1], 0);
	ck_assert_uint_eq(got[2], 90);
	fixture_free(&f);
}
END_TEST

/* Idle backends, some of them down or busy; which one has the next turn. */
static const struct {
	const char *name;
	size_t n;
	uint32_t weights[4], busy[4];
	bool is_down[4];
	size_t n_ties;
} ties[] = {
	{ "two", 2, { 1, 1 }, { 0 }, { false }, 2 },
	{ "four", 4, { 1, 1, 1, 1 }, { 0 }, { false }, 4 },
	{ "around one that is down", 4, { 1, 1, 1, 1 }, { 0 }, { false, true }, 3 },
	{ "around a busy one", 4, { 1, 1, 1, 1 }, { 0, 0, 1 }, { false }, 3 },
	{ "of busy ones", 3, { 2, 2, 2 }, { 4, 3, 3 }, { false }, 2 },
	{ "of equal weights beside a heavy busy one", 3, { 3, 3, 256 }, { 0, 0, 1 }, { false }, 2 },
};

/* Requests one after another: of n backends with the least load, each gets every n-th request. */
START_TEST(least_takes_ties_in_turn)
{
	struct fixture f =
		fixture_new(ties[_i].n, ties[_i].weights, ties[_i].n, CONF_BALANCE_LEAST, 0);

	for (size_t i = 0; i < f.n; i++) {
		for (uint32_t c = 0; c < ties[_i].busy[i]; c++)
			ck_assert(backend_reserve(f.b[i]));
		if (ties[_i].is_down[i])
			backend_set_health(f.b[i], BACKEND_DOWN, 1);
	}
	for (uint64_t round = 0; round < 50; round++) {
		uint32_t seen = 0;
		for (size_t i = 0; i < ties[_i].n_ties; i++) {
			size_t at = fixture_pick(&f, f.m, 0, hash_mix(round, i));
			ck_assert_msg(!(seen & 1u << at), "%s: b%zu again", ties[_i].name, at);
			seen |= 1u << at;
			backend_release(f.b[at]);
		}
	}
	fixture_free(&f);
}
END_TEST

/* Backends with equal loads and unequal weights: how many of the picks each gets. */
static const struct {
	const char *name;
	size_t n;
	uint32_t weights[4], busy[4];
	uint32_t share[4]; /* picks in each cycle */
	uint32_t longest;  /* picks of one backend in a row */
} weighted_ties[] = {
	{ "2 and 1", 2, { 2, 1 }, { 0 }, { 2, 1 }, 2 },
	{ "3 and 2", 2, { 3, 2 }, { 0 }, { 3, 2 }, 2 },
	{ "16 and 8", 2, { 16, 8 }, { 0 }, { 2, 1 }, 2 },
	{ "1, 4 and 4", 3, { 1, 4, 4 }, { 0 }, { 1, 4, 4 }, 2 },
	{ "256 and 1", 2, { 256, 1 }, { 0 }, { 256, 1 }, 257 },
	{ "an idle one before busy ones", 3, { 1, 2, 200 }, { 0, 1, 1 }, { 1, 0, 0 }, UINT32_MAX },
	{ "busy ones", 3, { 1, 2, 3 }, { 1, 3, 5 }, { 1, 2, 3 }, 2 },
};

/* Requests one after another: no backend gets more or less than its weight says. */
START_TEST(least_shares_ties_by_weight)
{
	enum { N_CYCLES = 100 };
	struct fixture f = fixture_new(weighted_ties[_i].n, weighted_ties[_i].weights,
				       weighted_ties[_i].n, CONF_BALANCE_LEAST, 0);
	uint32_t cycle = 0, got[4] = { 0 }, n_in_a_row = 0, longest = 0;
	size_t last = SIZE_MAX;

	for (size_t i = 0; i < f.n; i++) {
		cycle += weighted_ties[_i].share[i];
		for (uint32_t c = 0; c < weighted_ties[_i].busy[i]; c++)
			ck_assert(backend_reserve(f.b[i]));
	}
	for (uint64_t i = 0; i < N_CYCLES * cycle; i++) {
		size_t at = fixture_pick(&f, f.m, 0, hash_mix(i, 11));
		backend_release(f.b[at]);
		got[at]++;
		n_in_a_row = at == last ? n_in_a_row + 1 : 1;
		longest = n_in_a_row > longest ? n_in_a_row : longest;
		last = at;
	}
	for (size_t i = 0; i < f.n; i++) {
		uint32_t want = N_CYCLES * weighted_ties[_i].share[i];
		ck_assert_msg(got[i] <= want + 1 && got[i] + 1 >= want, "%s: b%zu got %u",
			      weighted_ties[_i].name, i, got[i]);
	}
	ck_assert_msg(longest <= weighted_ties[_i].longest, "%s: %u in a row",
		      weighted_ties[_i].name, longest);
	fixture_free(&f);
}
END_TEST

/* A backend that was down for long gets one turn at once, and not all turns that it has missed. */
START_TEST(least_makes_up_for_nothing)
{
	static const uint32_t weights[] = { 2, 1, 1 };
	struct fixture f = fixture_new(3, weights, 3, CONF_BALANCE_LEAST, 0);
	uint32_t got = 0;

	for (uint64_t i = 0; i < 4; i++)
		backend_release(f.b[fixture_pick(&f, f.m, 0, hash_mix(i, 12))]);
	backend_set_health(f.b[2], BACKEND_DOWN, 1);
	for (uint64_t i = 0; i < 1000; i++)
		backend_release(f.b[fixture_pick(&f, f.m, 0, hash_mix(i, 13))]);
	backend_set_health(f.b[2], BACKEND_UP, 2);
	for (uint64_t i = 0; i < 40; i++) {
		size_t at = fixture_pick(&f, f.m, 0, hash_mix(i, 14));
		got += at == 2;
		backend_release(f.b[at]);
	}
	ck_assert_msg(got >= 9 && got <= 11, "%u of 40", got);
	fixture_free(&f);
}
END_TEST

/* The connections that one backend refuses go to the others in turn, too. */
START_TEST(least_takes_retries_in_turn)
{
	struct fixture f = fixture_new(4, equal, 1, CONF_BALANCE_LEAST, 0);
	size_t got[4] = { 0 };

	for (uint64_t i = 0; i < 300; i++) {
		struct pick k = { .random = hash_mix(i, 5) };
		struct backend *b;
		do {
			b = pool_pick(f.m, &k);
			backend_release(b);
			backend_unref(b);
		} while (b == f.b[2]);
		got[fixture_index(&f, b)]++;
	}
	for (size_t i = 0; i < 4; i++)
		ck_assert_uint_eq(got[i], i == 2 ? 0 : 100);
	fixture_free(&f);
}
END_TEST

/* A backend that joins, or comes up again, was picked longest ago: so it is picked next, once. */
START_TEST(least_takes_a_new_one_once)
{
	struct fixture f = fixture_new(3, equal, 1, CONF_BALANCE_LEAST, 0);
	size_t got[3] = { 0 };

	backend_set_health(f.b[2], BACKEND_DOWN, 1);
	for (uint64_t i = 0; i < 10; i++)
		backend_release(f.b[fixture_pick(&f, f.m, 0, hash_mix(i, 6))]);
	backend_set_health(f.b[2], BACKEND_UP, 2);
	for (uint64_t i = 0; i < 30; i++) {
		size_t at = fixture_pick(&f, f.m, 0, hash_mix(i, 7));
		ck_assert(i > 0 || at == 2);
		got[at]++;
		backend_release(f.b[at]);
	}
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_eq(got[i], 10);
	fixture_free(&f);
}
END_TEST

/* Among backends that were never picked, a random one is first, also where one of them is down. */
START_TEST(least_begins_anywhere)
{
	struct fixture f = fixture_new(4, equal, 1, CONF_BALANCE_LEAST, 0);
	size_t first[4] = { 0 };

	backend_set_health(f.b[1], BACKEND_DOWN, 1);
	for (uint64_t i = 0; i < 3000; i++) {
		size_t at = fixture_pick(&f, f.m, 0, hash_mix(i, 4));
		first[at]++;
		backend_release(f.b[at]);
		backend_set_turn(f.b[at], 0);
	}
	for (size_t i = 0; i < 4; i++)
		if (i != 1)
			ck_assert_msg(first[i] > 850 && first[i] < 1150, "b%zu: %zu", i, first[i]);
	fixture_free(&f);
}
END_TEST

/* ---- round_robin ------------------------------------------------------------------------------
 */

static const struct {
	const char *name;
	size_t n;
	uint32_t weights[4];
	size_t cycle;
} cycles[] = {
	{ "equal", 3, { 1, 1, 1 }, 3 },
	{ "1/2/1", 3, { 1, 2, 1 }, 4 },
	{ "a common divisor", 2, { 100, 50 }, 3 },
	{ "5/1/1", 3, { 5, 1, 1 }, 7 },
	{ "with a 0", 3, { 2, 0, 1 }, 3 },
};

START_TEST(rr_is_exact_in_each_cycle)
{
	struct fixture f = fixture_new(cycles[_i].n, cycles[_i].weights, cycles[_i].n,
				       CONF_BALANCE_ROUND_ROBIN, 0);
	uint32_t sum = 0;

	for (size_t i = 0; i < cycles[_i].n; i++)
		sum += cycles[_i].weights[i];
	for (int round = 0; round < 10; round++) {
		size_t got[4] = { 0 };
		for (size_t i = 0; i < cycles[_i].cycle; i++)
			got[fixture_pick(&f, f.m, 0, 0)]++;
		for (size_t i = 0; i < cycles[_i].n; i++)
			ck_assert_msg(got[i] * sum == cycles[_i].weights[i] * cycles[_i].cycle,
				      "%s: b%zu got %zu", cycles[_i].name, i, got[i]);
	}
	fixture_free(&f);
}
END_TEST

/* A heavy backend is not picked over and over while others wait. */
START_TEST(rr_is_smooth)
{
	static const uint32_t weights[] = { 4, 1 };
	struct fixture f = fixture_new(2, weights, 2, CONF_BALANCE_ROUND_ROBIN, 0);
	size_t in_a_row = 0, longest = 0;

	for (int i = 0; i < 100; i++) {
		in_a_row = fixture_pick(&f, f.m, 0, 0) == 0 ? in_a_row + 1 : 0;
		longest = in_a_row > longest ? in_a_row : longest;
	}
	ck_assert_uint_le(longest, 4);
	fixture_free(&f);
}
END_TEST

/* Not all of many light backends have their turns between two turns of a heavy one. */
START_TEST(rr_spreads_the_light_ones)
{
	static uint32_t weights[101] = { 100 };
	size_t light_in_a_row = 0, heavy_in_a_row = 0, longest = 0;

	for (size_t i = 1; i < 101; i++)
		weights[i] = 1;
	struct fixture f = fixture_new(101, weights, 101, CONF_BALANCE_ROUND_ROBIN, 0);
	for (int i = 0; i < 400; i++) { /* two cycles */
		bool is_heavy = fixture_pick(&f, f.m, 0, 0) == 0;
		heavy_in_a_row = is_heavy ? heavy_in_a_row + 1 : 0;
		light_in_a_row = is_heavy ? 0 : light_in_a_row + 1;
		longest = heavy_in_a_row > longest ? heavy_in_a_row : longest;
		longest = light_in_a_row > longest ? light_in_a_row : longest;
	}
	ck_assert_uint_eq(backend_active(f.b[0]), 200);
	ck_assert_msg(longest <= 3, "%zu in a row", longest);
	fixture_free(&f);
}
END_TEST

START_TEST(rr_spreads_the_turns_of_the_unusable)
{
	struct fixture f = fixture_new(3, equal, 1, CONF_BALANCE_ROUND_ROBIN, 0);
	size_t got[3] = { 0 };

	backend_set_health(f.b[1], BACKEND_DOWN, 1);
	for (int i = 0; i < 300; i++)
		got[fixture_pick(&f, f.m, 0, 0)]++;
	ck_assert_uint_eq(got[0], 150);
	ck_assert_uint_eq(got[2], 150);
	fixture_free(&f);
}
END_TEST

/* Weights whose cycle would be too long are rounded, within a part in a hundred. */
START_TEST(rr_shortens_long_cycles)
{
	static const uint32_t weights[] = { 255, 256, 251, 241 };
	struct fixture f = fixture_new(40, weights, 4, CONF_BALANCE_ROUND_ROBIN, 0);
	size_t got[40] = { 0 };

	for (int i = 0; i < 100000; i++)
		got[fixture_pick(&f, f.m, 0, 0)]++;
	for (size_t i = 0; i < 40; i++) {
		double share = 100000.0 * weights[i % 4] / (10.0 * (255 + 256 + 251 + 241));
		ck_assert_msg((double)got[i] > share * 0.97 && (double)got[i] < share * 1.03,
			      "b%zu: %zu of %f", i, got[i], share);
	}
	fixture_free(&f);
}
END_TEST

/* ---- random and first -------------------------------------------------------------------------
 */

START_TEST(random_follows_the_weights)
{
	struct fixture f = fixture_new(3, weighted, 3, CONF_BALANCE_RANDOM, 0);

	for (uint64_t i = 0; i < 4000; i++)
		ck_assert_uint_ne(fixture_pick(&f, f.m, 0, hash_mix(i, 8)), SIZE_MAX);
	for (size_t i = 0; i < 3; i++) {
		uint32_t share = 1000 * weighted[i];
		ck_assert_msg(backend_active(f.b[i]) > share * 95 / 100 &&
				      backend_active(f.b[i]) < share * 105 / 100,
			      "b%zu: %u", i, backend_active(f.b[i]));
	}
	fixture_free(&f);
}
END_TEST

START_TEST(random_finds_the_only_one_left)
{
	struct fixture f = fixture_new(300, equal, 1, CONF_BALANCE_RANDOM, 0);

	for (size_t i = 0; i < f.n; i++)
		if (i != 123)
			backend_set_health(f.b[i], BACKEND_DOWN, 1);
	for (uint64_t i = 0; i < 50; i++)
		ck_assert_uint_eq(fixture_pick(&f, f.m, 0, hash_mix(i, 6)), 123);
	fixture_free(&f);
}
END_TEST

START_TEST(first_fills_in_order)
{
	struct fixture f = fixture_new(3, equal, 1, CONF_BALANCE_FIRST, 0);
	static const size_t want[] = { 0, 0, 1, 1, 2, 2 };

	for (size_t i = 0; i < 3; i++)
		backend_set_max_conns(f.b[i], 2);
	for (size_t i = 0; i < 6; i++)
		ck_assert_uint_eq(fixture_pick(&f, f.m, 0, i), want[i]);
	ck_assert_uint_eq(fixture_pick(&f, f.m, 0, 0), SIZE_MAX);
	backend_release(f.b[1]);
	ck_assert_uint_eq(fixture_pick(&f, f.m, 0, 0), 1);
	fixture_free(&f);
}
END_TEST

static void add_tests(TCase *t)
{
	const int n = sizeof(policies) / sizeof(policies[0]);

	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, the_unusable_are_passed_over, 0, n);
	tcase_add_loop_test(t, weight_0_takes_nothing, 0, n);
	tcase_add_loop_test(t, retries_try_each_once, 0, n);
	tcase_add_loop_test(t, max_connections_is_never_exceeded, 0, n);
	tcase_add_test(t, least_is_within_one_of_exact);
	tcase_add_loop_test(t, least_agrees_with_a_plain_model, 0, 200);
	tcase_add_test(t, least_counts_the_living);
	tcase_add_loop_test(t, the_last_one_is_found_by_all, 0, n);
	tcase_add_loop_test(t, no_members_no_pick, 0, n);
	tcase_add_loop_test(t, least_takes_ties_in_turn, 0, ARRAY_SIZE(ties));
	tcase_add_loop_test(t, least_shares_ties_by_weight, 0, ARRAY_SIZE(weighted_ties));
	tcase_add_test(t, least_makes_up_for_nothing);
	tcase_add_test(t, least_takes_retries_in_turn);
	tcase_add_test(t, least_takes_a_new_one_once);
	tcase_add_test(t, least_begins_anywhere);
	tcase_add_loop_test(t, rr_is_exact_in_each_cycle, 0, sizeof(cycles) / sizeof(cycles[0]));
	tcase_add_test(t, rr_is_smooth);
	tcase_add_test(t, rr_spreads_the_light_ones);
	tcase_add_test(t, rr_spreads_the_turns_of_the_unusable);
	tcase_add_test(t, rr_shortens_long_cycles);
	tcase_add_test(t, random_follows_the_weights);
	tcase_add_test(t, random_finds_the_only_one_left);
	tcase_add_test(t, first_fills_in_order);
}

int main(void)
{
	return run_suite("balance/policy", add_tests);
}
