/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "workers.h"

#include "net/sock.h"
#include "proxy/accept.h"
#include "proxy/capacity.h"
#include "proxy/exchange.h"
#include "proxy/tunnel.h"

static struct worker *first, *second;

static void begin_two(int engine)
{
	begin_workers(engine);
	first = rigs[0].w;
	second = rigs[1].w;
}

static uint32_t take(struct worker *w, uint32_t n)
{
	uint32_t got = 0;

	while (got < n && capacity_reserve(w))
		got++;
	return got;
}

static void give(struct worker *w, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		capacity_release(w);
}

/* ---- slots ----------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint64_t max_conns;
	uint32_t want_first, want_second; /* how many each gets, the first one asking first */
} limits[] = {
	{ "none", 0, 0, 0 },
	{ "one", 1, 1, 0 },
	{ "less than one table", 1500, 1500, 0 },
	{ "a whole table", MAX_SESSIONS, MAX_SESSIONS, 0 },
	{ "a table and one", MAX_SESSIONS + 1, MAX_SESSIONS, 1 },
	{ "both tables", 2 * MAX_SESSIONS, MAX_SESSIONS, MAX_SESSIONS },
	{ "more than the tables", 1000000, MAX_SESSIONS, MAX_SESSIONS },
};

/* Both limits are exact: the one over all workers, and each worker's own descriptors. */
START_TEST(slots_are_counted_exactly)
{
	begin_two(0);
	atomic_store(&proxy.max_conns, limits[_i].max_conns);
	for (int round = 0; round < 2; round++) {
		ck_assert_msg(take(first, 100000) == limits[_i].want_first, "%s", limits[_i].name);
		ck_assert_msg(take(second, 100000) == limits[_i].want_second, "%s",
			      limits[_i].name);
		ck_assert_uint_eq(atomic_load(&proxy.n_conns),
				  limits[_i].want_first + limits[_i].want_second);
		give(first, limits[_i].want_first);
		give(second, limits[_i].want_second);
		ck_assert_uint_eq(atomic_load(&proxy.n_conns), 0);
	}
	end_workers();
}
END_TEST

/* A slot that one worker gives back can be reserved by another one. */
START_TEST(a_slot_may_move_between_workers)
{
	begin_two(0);
	atomic_store(&proxy.max_conns, 10);
	ck_assert_uint_eq(take(first, 10), 10);
	ck_assert(!capacity_reserve(second));
	capacity_release(first);
	ck_assert(capacity_reserve(second));
	ck_assert(!capacity_reserve(first));
	give(first, 9);
	give(second, 1);
	end_workers();
}
END_TEST

/* A reload may lower the limit below what is there: nobody is ended, nobody is let in. */
START_TEST(a_lowered_limit_lets_nobody_in)
{
	begin_two(0);
	ck_assert_uint_eq(take(first, 10), 10);
	atomic_store(&proxy.max_conns, 5);
	for (int left = 10; left > 5; left--) {
		ck_assert(!capacity_reserve(second));
		capacity_release(first);
	}
	ck_assert(!capacity_reserve(second));
	capacity_release(first);
	ck_assert(capacity_reserve(second));
	give(first, 4);
	give(second, 1);
	end_workers();
}
END_TEST

/* Far from the limits accepts need not be counted: a burst on every worker must still fit. */
static const struct {
	const char *name;
	uint32_t max_sessions;
	uint64_t max_conns;
	bool is_roomy;
} bursts[] = {
	{ "both far", 100000, 1000000, true },
	{ "the limit just far enough", 100000, 2 * 2 * SOCK_BACKLOG + 2, true },
	{ "the limit one too near", 100000, 2 * 2 * SOCK_BACKLOG + 1, false },
	{ "the table just large enough", 2 * SOCK_BACKLOG + 2, 1000000, true },
	{ "the table one too small", 2 * SOCK_BACKLOG + 1, 1000000, false },
};

START_TEST(slots_are_for_a_burst_on_every_worker)
{
	begin_two(0);
	first->capacity->n_slots = bursts[_i].max_sessions;
	atomic_store(&proxy.max_conns, bursts[_i].max_conns);
	ck_assert(capacity_reserve(first));
	ck_assert_msg(capacity_is_roomy(first) == bursts[_i].is_roomy, "%s", bursts[_i].name);
	capacity_release(first);
	end_workers();
}
END_TEST

/* Memory was short: nobody is taken in, nor in a burst, before there is some; then at once. */
START_TEST(without_memory_nobody_is_let_in)
{
	struct rlimit was;

	begin_two(0);
	turn_all();
	first->capacity->n_slots = 100000;
	atomic_store(&proxy.max_conns, 1000000);
	ck_assert(capacity_is_roomy(first));
	first->is_short = true; /* as a session finds it */
	ck_assert(!capacity_is_roomy(first));
	ck_assert_int_eq(getrlimit(RLIMIT_DATA, &was), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_DATA, &(struct rlimit){ 4096, was.rlim_max }), 0);
	ck_assert(!capacity_reserve(first));
	ck_assert(capacity_reserve(second)); /* which has not asked for any yet */
	ck_assert_uint_eq(atomic_load(&proxy.n_conns), 1);
	ck_assert_int_eq(setrlimit(RLIMIT_DATA, &was), 0);
	ck_assert(capacity_reserve(first));
	ck_assert(capacity_is_roomy(first));
	give(first, 1);
	give(second, 1);
	end_workers();
}
END_TEST

/* ---- at the same time ------------------------------------------------------------------------ */

#define CROWD_LIMIT 3
#define CROWD_TIMES 200000

static atomic_uint n_inside, n_excess, n_got;

static void *reserve_and_release(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < CROWD_TIMES; i++) {
		if (!capacity_reserve(w))
			continue;
		atomic_fetch_add(&n_got, 1);
		if (atomic_fetch_add(&n_inside, 1) >= CROWD_LIMIT)
			atomic_fetch_add(&n_excess, 1);
		if (i % 64 == 0)
			(void)sched_yield();
		atomic_fetch_sub(&n_inside, 1);
		capacity_release(w);
	}
	return NULL;
}

/* The limit is not exceeded, not for a moment, by four threads at once. */
START_TEST(a_crowd_never_exceeds_the_limit)
{
	enum { N = 4 };
	pthread_t threads[N];
	struct worker crowd[N];

	begin_two(0);
	atomic_store(&n_excess, 0);
	atomic_store(&n_got, 0);
	atomic_store(&proxy.max_conns, CROWD_LIMIT);
	for (int i = 0; i < N; i++) {
		crowd[i] = (struct worker){ .proxy = &proxy,
					    .capacity = rigs[i % N_WORKERS].w->capacity };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, reserve_and_release, &crowd[i]),
				 0);
	}
	for (int i = 0; i < N; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(atomic_load(&n_excess), 0);
	ck_assert_uint_gt(atomic_load(&n_got), CROWD_TIMES / N);
	end_workers();
}
END_TEST

/* ---- pauses ---------------------------------------------------------------------------------- */

START_TEST(a_pause_is_counted_and_told_once)
{
	begin_two(_i);
	turn_all();
	for (int i = 0; i < 5; i++)
		accept_pause(first, "test");
	ck_assert_uint_eq(counter_read(&first->stats->pauses), 1);
	ck_assert_int_eq(n_logged, 1);
	accept_resume(first);
	accept_pause(first, "test");
	ck_assert_uint_eq(counter_read(&first->stats->pauses), 2);
	ck_assert_int_eq(n_logged, 1); /* within a minute */
	accept_resume(first);
	loop_timer_stop(first->loop, &first->retry);
	end_workers();
}
END_TEST

/* By itself after a while, and at once when one of its own sessions has left its slot. */
START_TEST(a_pause_ends)
{
	begin_two(_i);
	accept_pause(first, "test");
	ck_assert(first->is_paused);
	TURN_UNTIL(!first->is_paused);

	ck_assert(capacity_reserve(first));
	accept_pause(first, "test");
	capacity_release(first);
	ck_assert_int_eq(loop_turn(first->loop, 1000), 0);
	ck_assert(!first->is_paused);
	end_workers();
}
END_TEST

/* ---- the rest -------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

START_TEST(ids_are_unique_over_workers)
{
	enum { N = 6000 };
	static uint64_t ids[N];

	begin_two(0);
	for (int i = 0; i < N; i++)
		ids[i] = worker_next_id(i % 3 == 0 ? first : second);
	qsort(ids, N, sizeof(ids[0]), by_id);
	for (int i = 1; i < N; i++)
		if (ids[i] == ids[i - 1])
			ck_abort_msg("an id twice");
	ck_assert_uint_ne(ids[0], 0);
	end_workers();
}
END_TEST

START_TEST(an_exchange_is_lent_clean)
{
	static const struct exchange zero;

	begin_two(0);
	struct exchange *x = worker_lend_exchange(first);
	ck_assert_ptr_nonnull(x);
	ck_assert_mem_eq(x, &zero, sizeof(zero));
	worker_return_exchange(first, x);
	x = worker_lend_exchange(first);
	ck_assert_mem_eq(x, &zero, sizeof(zero));
	worker_return_exchange(first, x);
	end_workers();
}
END_TEST

START_TEST(a_pool_without_members_has_none)
{
	char name[] = "p";
	struct conf_pool c = { .name = name };

	begin_two(0);
	struct pool *p = pool_new(&c, 7);
	ck_assert_ptr_null(worker_members(first, p));
	pool_unref(p);
	end_workers();
}
END_TEST

/* Frames and messages, by the side that they came from; a broken stream is counted once. */
START_TEST(frames_are_counted)
{
	static const uint8_t two[] = { 0x01, 0x80, 1, 2, 3, 4, 0x80, 0x80, 1, 2, 3, 4 };
	static const uint8_t ping[] = { 0x89, 0x00 };
	static const uint8_t broken[] = { 0x83, 0x00, 0x83, 0x00 };
	struct ws_track from_client, from_backend;

	begin_two(0);
	const struct worker_stats *st = first->stats;
	ws_track_init(&from_client, true);
	ws_track_init(&from_backend, false);
	for (size_t i = 0; i < sizeof(two); i++) /* in pieces */
		tunnel_count(first, CLIENT, &from_client, &two[i], 1);
	tunnel_count(first, BACKEND, &from_backend, ping, sizeof(ping));
	ck_assert_uint_eq(counter_read(&st->frames_in), 2);
	ck_assert_uint_eq(counter_read(&st->messages_in), 1);
	ck_assert_uint_eq(counter_read(&st->frames_out), 1);
	ck_assert_uint_eq(counter_read(&st->messages_out), 0);
	ck_assert_uint_eq(counter_read(&st->protocol_errors), 0);
	tunnel_count(first, BACKEND, &from_backend, broken, sizeof(broken));
	tunnel_count(first, BACKEND, &from_backend, broken, sizeof(broken));
	ck_assert_uint_eq(counter_read(&st->protocol_errors), 1);

	tunnel_count_frames(first, CLIENT, (struct ws_count){ .frames = 5, .messages = 3 });
	tunnel_count_frames(first, BACKEND, (struct ws_count){ .frames = 7, .messages = 4 });
	ck_assert_uint_eq(counter_read(&st->frames_in), 7);
	ck_assert_uint_eq(counter_read(&st->messages_in), 4);
	ck_assert_uint_eq(counter_read(&st->frames_out), 8);
	ck_assert_uint_eq(counter_read(&st->messages_out), 4);
	ck_assert_uint_eq(counter_read(&second->stats->frames_in), 0);
	end_workers();
}
END_TEST

/* A bug of ours must not pass: the limits would be wrong from then on. */
START_TEST(releasing_what_was_not_reserved_aborts)
{
	begin_two(0);
	ck_assert(freopen("/dev/null", "w", stderr) != NULL);
	capacity_release(first);
}
END_TEST

START_TEST(freeing_nothing_is_fine)
{
	ck_assert_ptr_null(worker_free(NULL));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 60); /* two workers a test take seconds under ThreadSanitizer */
	tcase_add_loop_test(t, slots_are_counted_exactly, 0, ARRAY_SIZE(limits));
	tcase_add_test(t, a_slot_may_move_between_workers);
	tcase_add_test(t, a_lowered_limit_lets_nobody_in);
	tcase_add_loop_test(t, slots_are_for_a_burst_on_every_worker, 0, ARRAY_SIZE(bursts));
	tcase_add_test(t, without_memory_nobody_is_let_in);
	tcase_add_test(t, a_crowd_never_exceeds_the_limit);
	tcase_add_loop_test(t, a_pause_is_counted_and_told_once, 0, n_engines);
	tcase_add_loop_test(t, a_pause_ends, 0, n_engines);
	tcase_add_test(t, ids_are_unique_over_workers);
	tcase_add_test(t, an_exchange_is_lent_clean);
	tcase_add_test(t, a_pool_without_members_has_none);
	tcase_add_test(t, frames_are_counted);
	tcase_add_test_raise_signal(t, releasing_what_was_not_reserved_aborts, SIGABRT);
	tcase_add_test(t, freeing_nothing_is_fine);
}

int main(void)
{
	return run_on_engines("proxy/worker", add_tests);
}
