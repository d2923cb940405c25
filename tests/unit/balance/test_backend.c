/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "fixture.h"

static const struct {
	const char *name;
	enum backend_health health;
	enum backend_admin admin;
	bool is_removed;
	const char *state;
	bool is_usable;
} states[] = {
	{ "new", BACKEND_CHECKING, BACKEND_READY, false, "checking", true },
	{ "up", BACKEND_UP, BACKEND_READY, false, "up", true },
	{ "down", BACKEND_DOWN, BACKEND_READY, false, "down", false },
	{ "draining", BACKEND_UP, BACKEND_DRAIN, false, "draining", false },
	{ "draining and down", BACKEND_DOWN, BACKEND_DRAIN, false, "draining", false },
	{ "maint", BACKEND_CHECKING, BACKEND_MAINT, false, "maint", false },
	{ "removed", BACKEND_UP, BACKEND_READY, true, "draining", true },
	{ "removed and down", BACKEND_DOWN, BACKEND_READY, true, "draining", false },
};

START_TEST(states_have_names)
{
	struct backend *b = fixture_backend("b", 1, 0);

	backend_set_health(b, states[_i].health, 1);
	backend_set_admin(b, states[_i].admin);
	backend_set_removed(b, states[_i].is_removed);
	ck_assert_msg(strcmp(backend_state_name(b), states[_i].state) == 0, "%s: %s",
		      states[_i].name, backend_state_name(b));
	ck_assert_msg(backend_is_usable(b) == states[_i].is_usable, "%s", states[_i].name);
	backend_unref(b);
}
END_TEST

static const struct {
	const char *name;
	uint32_t max, bound;
	uint32_t slots; /* how many slots can be taken */
} limits[] = {
	{ "max_connections", 3, UINT32_MAX, 3 },
	{ "a bound", 0, 2, 2 },
	{ "a bound below max_connections", 5, 2, 2 },
	{ "a bound above max_connections", 2, 5, 2 },
	{ "a bound of 0", 5, 0, 0 },
};

START_TEST(slots_are_limited)
{
	struct backend *b = fixture_backend("b", 1, limits[_i].max);
	uint32_t n = 0;

	while (n < 10 && backend_reserve_within(b, limits[_i].bound))
		n++;
	ck_assert_msg(n == limits[_i].slots, "%s: %u", limits[_i].name, n);
	ck_assert_uint_eq(backend_active(b), n);
	if (n > 0) {
		backend_release(b);
		bool had_room = backend_reserve_within(b, limits[_i].bound);
		ck_assert_msg(had_room, "%s: a slot given back is free", limits[_i].name);
	}
	for (; n > 0; n--)
		backend_release(b);
	backend_unref(b);
}
END_TEST

/*
 * When a reload lowers the limit below the connections that are open, none of these ends, and no
 * new one is let in.
 */
START_TEST(a_lower_limit_takes_nothing_away)
{
	struct backend *b = fixture_backend("b", 1, 0);

	for (int i = 0; i < 5; i++)
		ck_assert(backend_reserve(b));
	backend_set_max_conns(b, 2);
	ck_assert(!backend_reserve(b));
	ck_assert_uint_eq(backend_active(b), 5);
	for (int i = 0; i < 4; i++)
		backend_release(b);
	ck_assert(backend_reserve(b));
	ck_assert(!backend_reserve(b));
	for (int i = 0; i < 2; i++)
		backend_release(b);
	backend_unref(b);
}
END_TEST

START_TEST(tallies_are_summed)
{
	struct backend *b = fixture_backend("b", 1, 0); /* for two workers */

	backend_count_bytes(b, 0, 10, 100);
	backend_count_bytes(b, 1, 1, 2);
	backend_count_failure(b, 1);
	ck_assert_uint_eq(backend_bytes_in(b), 11);
	ck_assert_uint_eq(backend_bytes_out(b), 102);
	ck_assert_uint_eq(backend_failed(b), 1);
	ck_assert_uint_eq(backend_total(b), 0);
	backend_unref(b);
}
END_TEST

START_TEST(since_moves_with_the_verdict_only)
{
	struct backend *b = fixture_backend("b", 1, 0);

	backend_set_health(b, BACKEND_UP, 5);
	ck_assert_uint_eq(b->since_ns, 5);
	backend_set_health(b, BACKEND_UP, 9);
	ck_assert_uint_eq(b->since_ns, 5);
	backend_set_health(b, BACKEND_DOWN, 11);
	ck_assert_uint_eq(b->since_ns, 11);
	backend_unref(b);
}
END_TEST

START_TEST(references_keep_it)
{
	struct backend *b = fixture_backend("b", 1, 0);

	ck_assert_ptr_eq(backend_ref(b), b);
	ck_assert_ptr_null(backend_unref(b));
	ck_assert_str_eq(b->name, "b");
	ck_assert_str_eq(b->addr_text, "127.0.0.1:9000");
	ck_assert_ptr_null(backend_unref(b));
	ck_assert_ptr_null(backend_unref(NULL));
}
END_TEST

/* The fields that picks write share no cache line with the fields that picks only read. */
START_TEST(lines_are_apart)
{
	ck_assert_uint_ne(offsetof(struct backend, active) / 64,
			  offsetof(struct backend, max_conns) / 64);
	ck_assert_uint_ne(offsetof(struct backend, refs) / 64,
			  offsetof(struct backend, health) / 64);
	ck_assert_uint_ne(offsetof(struct pool, refs) / 64, offsetof(struct pool, idle_ms) / 64);
	ck_assert_uint_eq(sizeof(struct backend_tally) % 64, 0);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, states_have_names, 0, ARRAY_SIZE(states));
	tcase_add_loop_test(t, slots_are_limited, 0, ARRAY_SIZE(limits));
	tcase_add_test(t, a_lower_limit_takes_nothing_away);
	tcase_add_test(t, tallies_are_summed);
	tcase_add_test(t, since_moves_with_the_verdict_only);
	tcase_add_test(t, references_keep_it);
	tcase_add_test(t, lines_are_apart);
}

int main(void)
{
	return run_suite("balance/backend", add_tests);
}
