/* SPDX-License-Identifier: Apache-2.0 */
/* The promises of policy hash, and the vectors of docs/hash.md. */
#include "../suite.h"
#include "fixture.h"

#define N_KEYS 100000u

static const uint32_t equal[] = { 1 };

static uint64_t key_of(uint32_t i)
{
	char text[16];

	int n = snprintf(text, sizeof(text), "key-%u", i);
	return pool_key_of_bytes((struct slice){ .p = text, .n = (size_t)n });
}

/* The backend that gets the key; its slot is given back. */
static size_t owner(const struct fixture *f, const struct members *m, uint32_t i)
{
	size_t at = fixture_pick(f, m, key_of(i), 0);

	backend_release(f->b[at]);
	return at;
}

static const struct {
	size_t n;
	uint32_t n_keys;
} sizes[] = { { 3, N_KEYS }, { 50, N_KEYS }, { 1000, N_KEYS } };

/*
 * When a backend is removed, fewer than 1.3/n of the keys move, and none that another backend had.
 */
START_TEST(removing_one_moves_only_its_keys)
{
	size_t n = sizes[_i].n, gone = n / 2, n_moved = 0;
	struct fixture f = fixture_new(n, equal, 1, CONF_BALANCE_HASH, 0);
	struct members *less = fixture_members(&f, CONF_BALANCE_HASH, 0, gone, false);

	for (uint32_t k = 0; k < sizes[_i].n_keys; k++) {
		size_t before = owner(&f, f.m, k), after = owner(&f, less, k);
		n_moved += before != after;
		if (before != gone && before != after)
			ck_abort_msg("key %u moved from b%zu", k, before);
	}
	ck_assert_msg((double)n_moved < 1.3 * sizes[_i].n_keys / (double)n, "%zu moved", n_moved);
	ck_assert_uint_gt(n_moved, 0);
	members_unref(less);
	fixture_free(&f);
}
END_TEST

START_TEST(the_order_in_the_file_does_not_matter)
{
	static const uint32_t weights[] = { 1, 3, 2 };
	struct fixture f = fixture_new(50, weights, 3, CONF_BALANCE_HASH, 0);
	struct members *reversed = fixture_members(&f, CONF_BALANCE_HASH, 0, SIZE_MAX, true);
	size_t n_differ = 0;

	for (uint32_t k = 0; k < N_KEYS; k++)
		n_differ += owner(&f, f.m, k) != owner(&f, reversed, k);
	ck_assert_uint_eq(n_differ, 0);
	members_unref(reversed);
	fixture_free(&f);
}
END_TEST

static const struct {
	const char *name;
	size_t n;
	uint32_t weights[4];
	size_t n_weights;
	uint32_t n_keys;
} shares[] = {
	{ "3 equal", 3, { 1 }, 1, N_KEYS },
	{ "50 equal", 50, { 1 }, 1, N_KEYS },
	{ "1/2/1", 3, { 1, 2, 1 }, 3, N_KEYS },
	{ "from 1 to 256", 4, { 1, 16, 64, 256 }, 4, 1000000 },
	{ "1000 equal", 1000, { 1 }, 1, 400000 },
};

/* Each share is within 20 % of its weight (as far as so many keys can tell). */
START_TEST(shares_follow_the_weights)
{
	struct fixture f = fixture_new(shares[_i].n, shares[_i].weights, shares[_i].n_weights,
				       CONF_BALANCE_HASH, 0);
	size_t *got = calloc(f.n, sizeof(*got));

	for (uint32_t k = 0; k < shares[_i].n_keys; k++)
		got[owner(&f, f.m, k)]++;
	for (size_t i = 0; i < f.n; i++) {
		double share = (double)shares[_i].n_keys * backend_weight(f.b[i]) /
			       (double)f.m->total_weight;
		ck_assert_msg((double)got[i] > share * 0.8 && (double)got[i] < share * 1.2,
			      "%s: b%zu has %zu, its share is %f", shares[_i].name, i, got[i],
			      share);
	}
	free(got);
	fixture_free(&f);
}
END_TEST

/*
 * When other backends are down, however many, a key goes to the backend to which it would go if
 * they did not exist.
 */
START_TEST(the_few_that_are_left_keep_their_order)
{
	static const uint32_t weights[] = { 1, 3, 2 };
	struct fixture f = fixture_new(1000, weights, 3, CONF_BALANCE_HASH, 0);
	struct members_entry left[3];

	for (size_t i = 0; i < f.n; i++) {
		if (i % 400 == 7)
			left[i / 400] = (struct members_entry){ f.b[i], backend_weight(f.b[i]) };
		else
			backend_set_health(f.b[i], BACKEND_DOWN, 1);
	}
	struct members *few = members_new(f.pool, CONF_BALANCE_HASH, 0, left, 3);
	ck_assert_ptr_nonnull(few);
	for (uint32_t k = 0; k < 1000; k++)
		ck_assert_uint_eq(owner(&f, f.m, k), owner(&f, few, k));
	members_unref(few);
	fixture_free(&f);
}
END_TEST

static const uint32_t factors[] = { 105, 125, 200, 1000 };

/*
 * With bounded loads no backend has more than the factor times the mean, for its weight, rounded
 * up.
 */
START_TEST(load_factor_bounds_every_backend)
{
	static const uint32_t weights[] = { 1, 2, 1 };
	struct fixture f = fixture_new(9, weights, 3, CONF_BALANCE_HASH, factors[_i]);

	for (uint32_t k = 1; k <= 3000; k++) {
		/* Few keys, so that without a bound some backends would have far too many. */
		ck_assert_uint_ne(fixture_pick(&f, f.m, key_of(k % 5), 0), SIZE_MAX);
		for (size_t i = 0; i < f.n; i++) {
			uint64_t w = backend_weight(f.b[i]);
			uint64_t bound = (k * factors[_i] * w + 100 * f.m->total_weight - 1) /
					 (100 * f.m->total_weight);
			if (backend_active(f.b[i]) > bound)
				ck_abort_msg("%u keys: b%zu has %u, its bound is %llu", k, i,
					     backend_active(f.b[i]), (unsigned long long)bound);
		}
	}
	fixture_free(&f);
}
END_TEST

/*
 * A full backend must not hold the mean down so far that all others refuse connections although
 * they have free slots.
 */
START_TEST(a_full_backend_bounds_nobody_else)
{
	struct fixture f = fixture_new(3, equal, 1, CONF_BALANCE_HASH, factors[_i]);

	backend_set_max_conns(f.b[0], 10);
	for (uint32_t k = 0; k < 1000; k++)
		ck_assert_msg(fixture_pick(&f, f.m, key_of(k), 0) != SIZE_MAX, "key %u refused", k);
	ck_assert_uint_le(backend_active(f.b[0]), 10);
	fixture_free(&f);
}
END_TEST

START_TEST(without_pressure_the_bound_changes_nothing)
{
	struct fixture f = fixture_new(20, equal, 1, CONF_BALANCE_HASH, 0);
	struct members *bounded = fixture_members(&f, CONF_BALANCE_HASH, 1000, SIZE_MAX, false);

	for (uint32_t k = 0; k < 1000; k++)
		ck_assert_uint_eq(owner(&f, f.m, k), owner(&f, bounded, k));
	members_unref(bounded);
	fixture_free(&f);
}
END_TEST

/* docs/hash.md, "Vectors": the order in which a key takes the backends. */
static const struct {
	const char *key;
	const char *names[4];
	uint32_t weights[4];
	const char *order[4];
} vectors[] = {
#include "hash_vectors.inc"
};

START_TEST(vectors_hold)
{
	char name[] = "pool";
	struct conf_pool c = { .name = name };
	struct pool *pool = pool_new(&c, 0);
	struct members_entry e[4];
	struct pick k = { .key = pool_key_of_bytes(slice_of(vectors[_i].key)) };

	for (size_t i = 0; i < 4; i++)
		e[i] = (struct members_entry){
			.backend = fixture_backend(vectors[_i].names[i], vectors[_i].weights[i], 0),
			.weight = vectors[_i].weights[i],
		};
	struct members *m = members_new(pool, CONF_BALANCE_HASH, 0, e, 4);
	for (size_t i = 0; i < 4; i++) {
		struct backend *b = pool_pick(m, &k);
		ck_assert_str_eq(b->name, vectors[_i].order[i]);
		backend_release(b);
		backend_unref(b);
	}
	members_unref(m);
	for (size_t i = 0; i < 4; i++)
		backend_unref(e[i].backend);
	pool_unref(pool);
}
END_TEST

/* Keys: an IPv6 client's /64 counts, an IPv4 client's whole address; ports never; hosts in any
 * case. */
START_TEST(keys_are_taken_right)
{
	struct addr a, b;

	ck_assert_int_eq(addr_parse(SLICE("10.1.2.3:5"), &a), 0);
	ck_assert_int_eq(addr_parse(SLICE("10.1.2.3:6"), &b), 0);
	ck_assert_uint_eq(pool_key_of_addr(&a), pool_key_of_addr(&b));
	ck_assert_int_eq(addr_parse(SLICE("10.1.2.4:5"), &b), 0);
	ck_assert_uint_ne(pool_key_of_addr(&a), pool_key_of_addr(&b));
	ck_assert_int_eq(addr_parse(SLICE("[2001:db8:1:2::1]:5"), &a), 0);
	ck_assert_int_eq(addr_parse(SLICE("[2001:db8:1:2:ffff::2]:7"), &b), 0);
	ck_assert_uint_eq(pool_key_of_addr(&a), pool_key_of_addr(&b));
	ck_assert_int_eq(addr_parse(SLICE("[2001:db8:1:3::1]:5"), &b), 0);
	ck_assert_uint_ne(pool_key_of_addr(&a), pool_key_of_addr(&b));
	ck_assert_uint_eq(pool_key_of_host(SLICE("Chat.Example.COM")),
			  pool_key_of_host(SLICE("chat.example.com")));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, removing_one_moves_only_its_keys, 0, 3);
	tcase_add_test(t, the_order_in_the_file_does_not_matter);
	tcase_add_loop_test(t, shares_follow_the_weights, 0, sizeof(shares) / sizeof(shares[0]));
	tcase_add_test(t, the_few_that_are_left_keep_their_order);
	tcase_add_loop_test(t, load_factor_bounds_every_backend, 0, 4);
	tcase_add_loop_test(t, a_full_backend_bounds_nobody_else, 0, 4);
	tcase_add_test(t, without_pressure_the_bound_changes_nothing);
	tcase_add_loop_test(t, vectors_hold, 0, sizeof(vectors) / sizeof(vectors[0]));
	tcase_add_test(t, keys_are_taken_right);
}

int main(void)
{
	return run_suite("balance/policy_hash", add_tests);
}
