/* SPDX-License-Identifier: Apache-2.0 */
/* The pool's live settings, and its references. The pick itself: test_policy.c. */
#include "../suite.h"
#include "fixture.h"

static const uint32_t equal[] = { 1 };

START_TEST(settings_change_live)
{
	char name[] = "chat";
	struct conf_pool c = {
		.name = name,
		.idle_ms = CONF_OFF,
		.half_closed_ms = 30000,
		.user_ms = 120000,
		.splice = CONF_SPLICE_AUTO,
		.buffer_bytes = 65536,
	};
	struct pool *p = pool_new(&c, 7);

	ck_assert_ptr_nonnull(p);
	ck_assert_str_eq(pool_name(p), "chat");
	ck_assert_uint_eq(p->slot, 7);
	ck_assert_uint_eq(pool_idle_ms(p), CONF_OFF);
	ck_assert_uint_eq(pool_half_closed_ms(p), 30000);
	ck_assert_uint_eq(pool_user_ms(p), 120000);
	ck_assert_uint_eq(pool_buffer_bytes(p), 65536);
	ck_assert_int_eq(pool_splice(p), CONF_SPLICE_AUTO);

	c.idle_ms = 1;
	c.half_closed_ms = 2;
	c.user_ms = 3;
	c.buffer_bytes = 4;
	c.splice = CONF_SPLICE_NEVER;
	pool_configure(p, &c);
	ck_assert_uint_eq(pool_idle_ms(p), 1);
	ck_assert_uint_eq(pool_half_closed_ms(p), 2);
	ck_assert_uint_eq(pool_user_ms(p), 3);
	ck_assert_uint_eq(pool_buffer_bytes(p), 4);
	ck_assert_int_eq(pool_splice(p), CONF_SPLICE_NEVER);
	pool_unref(p);
}
END_TEST

START_TEST(sources_take_turns)
{
	struct fixture f = fixture_new(1, equal, 1, CONF_BALANCE_FIRST, 0);
	uint32_t first = pool_next_source(f.pool);

	ck_assert_uint_eq(pool_next_source(f.pool), first + 1);
	ck_assert_uint_eq(pool_next_source(f.pool), first + 2);
	fixture_free(&f);
}
END_TEST

/* Members keep their pool and backends; a pick keeps its backend when the members go. */
START_TEST(references_keep_what_they_name)
{
	struct fixture f = fixture_new(2, equal, 1, CONF_BALANCE_FIRST, 0);
	struct members *m = members_ref(f.m);
	struct pick k = { .key = 1 };

	fixture_free(&f);
	ck_assert_str_eq(pool_name(m->pool), "pool");
	struct backend *b = pool_pick(m, &k);
	ck_assert_ptr_nonnull(b);
	ck_assert_ptr_null(members_unref(m));
	ck_assert_str_eq(b->name, "b0");
	ck_assert_uint_eq(backend_active(b), 1);
	backend_release(b);
	ck_assert_ptr_null(backend_unref(b));
}
END_TEST

/* Waiting is worthwhile only while some candidate may get a free slot. */
START_TEST(a_full_pool_is_told_from_a_dead_one)
{
	struct fixture f = fixture_new(2, equal, 1, CONF_BALANCE_FIRST, 0);
	struct pick first = { .key = 1 }, k = { .key = 1 };

	backend_set_health(f.b[0], BACKEND_DOWN, 1);
	backend_set_max_conns(f.b[1], 1);
	struct backend *b = pool_pick(f.m, &first);
	ck_assert_ptr_eq(b, f.b[1]);
	ck_assert_ptr_null(pool_pick(f.m, &k));
	ck_assert(pool_has_candidate(f.m, &k));
	ck_assert(!pool_has_candidate(f.m, &first)); /* the backend was in the pool already */
	backend_set_admin(f.b[1], BACKEND_MAINT);
	ck_assert(!pool_has_candidate(f.m, &k));
	backend_release(b);
	ck_assert_ptr_null(pool_pick(f.m, &k));
	ck_assert(!pool_has_candidate(f.m, &k));
	backend_unref(b);
	fixture_free(&f);
}
END_TEST

START_TEST(a_failed_pick_takes_nothing)
{
	struct fixture f = fixture_new(2, equal, 1, CONF_BALANCE_FIRST, 0);
	struct pick k = { .key = 1 };

	backend_set_health(f.b[0], BACKEND_DOWN, 1);
	backend_set_admin(f.b[1], BACKEND_MAINT);
	ck_assert_ptr_null(pool_pick(f.m, &k));
	ck_assert_uint_eq(k.n_tried, 0);
	ck_assert_uint_eq(backend_active(f.b[0]) + backend_active(f.b[1]), 0);
	fixture_free(&f);
}
END_TEST

START_TEST(tries_end_where_they_cannot_be_noted)
{
	struct fixture f = fixture_new(1, equal, 1, CONF_BALANCE_FIRST, 0);
	struct pick k = { .n_tried = PICK_MAX_TRIED };

	ck_assert_ptr_null(pool_pick(f.m, &k));
	ck_assert_uint_eq(k.n_tried, PICK_MAX_TRIED);
	fixture_free(&f);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, settings_change_live);
	tcase_add_test(t, sources_take_turns);
	tcase_add_test(t, references_keep_what_they_name);
	tcase_add_test(t, a_failed_pick_takes_nothing);
	tcase_add_test(t, a_full_pool_is_told_from_a_dead_one);
	tcase_add_test(t, tries_end_where_they_cannot_be_noted);
}

int main(void)
{
	return run_suite("balance/pool", add_tests);
}
