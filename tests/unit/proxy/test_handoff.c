/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A full worker hands connections off to the other one. Clients come by the kernel's own spread
 * over both sockets, so the first worker is made full by giving it no slot at all: what it accepts
 * is then handed off to the second one. (Of 40 clients none comes to the first in one of 10^12
 * runs.)
 */
#include "worker_fixture.h"

#include <sys/resource.h>

#include "proxy/capacity.h"
#include "proxy/handoff.h"
#include "proxy/session.h"
#include "util/slab.h"

static struct worker *full, *roomy;

static void begin_handoffs(int engine, uint64_t max_full, uint64_t max_roomy)
{
	begin_serving(engine);
	full = rigs[0].w;
	roomy = rigs[1].w;
	full->capacity->n_slots = max_full;
	roomy->capacity->n_slots = max_roomy;
	put_in_force();
}

static void end_handoffs(void)
{
	full->capacity->n_slots =
		MAX_SESSIONS; /* or it would wait for a slot before it closes its socket */
	close_clients();
	put_out_of_force();
	ck_assert_uint_eq(atomic_load(&proxy.n_handoffs), 0);
	ck_assert_uint_eq(atomic_load(&full->capacity->n_used), 0);
	ck_assert_uint_eq(atomic_load(&roomy->capacity->n_used), 0);
	end_serving();
}

static void dial_many(int n)
{
	for (int i = 0; i < n; i++)
		clients[n_clients++] = dial(listener->addr.port);
}

static uint64_t n_handed_off(void)
{
	return counter_read(&full->stats->handed_off) + counter_read(&roomy->stats->handed_off);
}

static uint64_t n_lost(void)
{
	return counter_read(&full->stats->handoff_lost) + counter_read(&roomy->stats->handoff_lost);
}

/* The full worker alone turns, until it has handed a connection off. */
static void hand_some_off(void)
{
	STEP_UNTIL(n_handed_off() > 0, ck_assert_int_eq(loop_turn(full->loop, 1), 0));
}

/* ---- served ---------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint64_t max_full, max_roomy;
} shares[] = {
	{ "no slot", 0, 40 },
	{ "few slots", 2, 38 },
	{ "the same", 20, 20 },
	{ "one elsewhere", 39, 1 },
};

/* However the kernel spreads them: as many are served as there are slots, and then the next waits
 * until somebody leaves. */
START_TEST(every_slot_is_used)
{
	const char *name = shares[_i / n_engines].name;
	uint64_t max_full = shares[_i / n_engines].max_full;
	uint64_t max_roomy = shares[_i / n_engines].max_roomy;

	begin_handoffs(_i % n_engines, max_full, max_roomy);
	dial_many(40);
	TURN_UNTIL(n_relaying() == 40);
	ck_assert_msg(full->n_sessions == max_full, "%s", name);
	ck_assert_msg(roomy->n_sessions == max_roomy, "%s", name);
	ck_assert_uint_eq(counter_read(&listener->tally[0].active), max_full);
	ck_assert_uint_eq(counter_read(&listener->tally[1].active), max_roomy);

	dial_many(1);
	for (int i = 0; i < 20; i++)
		turn_all();
	ck_assert_uint_eq(n_relaying(), 40);
	close_peer(clients[0], true);
	clients[0] = clients[--n_clients];
	TURN_UNTIL(n_relaying() == 40 &&
		   counter_read(&listener->tally[0].accepted) +
				   counter_read(&listener->tally[1].accepted) ==
			   41);
	ck_assert_uint_eq(n_lost(), 0);
	end_handoffs();
}
END_TEST

/* It is the worker's that took it in, with the client's address, as if it had come there itself. */
START_TEST(a_handed_off_one_is_like_any_other)
{
	uint32_t cursor = 0;
	const struct session *s;

	begin_handoffs(_i, 0, 1000);
	dial_many(40);
	TURN_UNTIL(n_relaying() == 40);
	ck_assert_uint_gt(n_handed_off(), 0);
	ck_assert_uint_eq(counter_read(&full->stats->accepted), 0);
	ck_assert_uint_eq(counter_read(&roomy->stats->accepted), 40);
	while ((s = slab_next(roomy->sessions, &cursor)) != NULL) {
		ck_assert_ptr_eq(s->from->listener, listener);
		ck_assert_ptr_eq(s->from->worker, roomy);
		ck_assert_int_eq(s->client.v4[0], 127);
		ck_assert_uint_ne(s->client.port, 0);
	}
	end_handoffs();
}
END_TEST

/* With room of its own a worker has no use for this. */
START_TEST(nothing_is_handed_off_without_need)
{
	begin_handoffs(_i, 40, 40);
	dial_many(40);
	TURN_UNTIL(n_relaying() == 40);
	ck_assert_uint_eq(n_handed_off(), 0);
	end_handoffs();
}
END_TEST

/* Those who wait for a worker that does not turn are few, and so are those of one turn. */
START_TEST(few_are_on_their_way)
{
	enum { N = 200 };
	uint64_t before = 0;

	begin_handoffs(_i, 0, 1000);
	dial_many(N);
	for (int turns = 0; turns < 60; turns++) {
		ck_assert_int_eq(loop_turn(full->loop, 1), 0);
		ck_assert_uint_le(n_handed_off() - before, HANDOFFS_PER_TURN);
		before = n_handed_off();
	}
	ck_assert_uint_eq(before, HANDOFFS_UNDER_WAY);
	ck_assert_uint_eq(atomic_load(&proxy.n_handoffs), HANDOFFS_UNDER_WAY);
	ck_assert_uint_eq(atomic_load(&proxy.n_conns), HANDOFFS_UNDER_WAY);
	ck_assert_uint_eq(n_logged, 0); /* it accepts, if not at this moment */
	TURN_UNTIL(n_relaying() == N);
	ck_assert_uint_gt(n_handed_off(), before);
	end_handoffs();
}
END_TEST

/* limits.connections holds for handed-off connections, too, those on their way included. */
START_TEST(the_limit_over_all_is_exact)
{
	begin_handoffs(_i, 0, 1000);
	atomic_store(&proxy.max_conns, 10);
	dial_many(40);
	TURN_UNTIL(n_relaying() == 10);
	for (int i = 0; i < 100; i++) {
		turn_all();
		ck_assert_uint_eq(atomic_load(&proxy.n_conns), 10);
	}
	atomic_store(&proxy.max_conns, 1000);
	TURN_UNTIL(n_relaying() == 40);
	end_handoffs();
}
END_TEST

/* ---- turned away ----------------------------------------------------------------------------- */

/* A reload comes to one worker after the other: until all have opened a listener, nobody is sent to
 * one that could not serve him. */
START_TEST(a_listener_is_open_everywhere_first)
{
	begin_serving(_i);
	full = rigs[0].w;
	roomy = rigs[1].w;
	full->capacity->n_slots = 0;
	listen_parked();
	dial_many(40);
	ck_assert_int_eq(ask_apply(0, true), 0);
	for (int i = 0; i < 100; i++)
		turn_all();
	ck_assert_uint_eq(n_handed_off(), 0);
	ck_assert_int_eq(ask_apply(1, true), 0);
	free_reply();
	TURN_UNTIL(n_relaying() == 40);
	ck_assert_uint_eq(n_lost(), 0);
	end_handoffs();
}
END_TEST

/* When the listener leaves the other worker meanwhile, a handed-off connection is closed and
 * counted. */
START_TEST(one_for_a_removed_listener_is_closed)
{
	begin_handoffs(_i, 0, 1000);
	ck_assert_int_eq(ask_apply(1, false), 0);
	free_reply();
	dial_many(1); /* only the full worker is left to come to */
	for (int i = 0; i < 20; i++)
		turn_all();
	ck_assert_uint_eq(n_handed_off(), 0);

	atomic_store(&listener->n_open, N_WORKERS); /* as if it had looked a moment before */
	TURN_UNTIL(n_lost() == 1);
	atomic_store(&listener->n_open, 1);
	ck_assert_uint_eq(n_handed_off(), 1);
	ck_assert_uint_eq(counter_read(&roomy->stats->accepted), 0);
	turn_all(); /* what was closed is gone */
	char c;
	ck_assert_int_eq(recv(clients[0], &c, 1, 0), 0);
	end_handoffs();
}
END_TEST

/* Nobody gets lost by a worker that ends: it waits for who has a slot there. */
START_TEST(a_worker_that_quits_waits_for_hand_offs)
{
	begin_handoffs(_i, 0, 1000);
	int want = n_replies + 1;
	post(&message_quit_new(1)->base); /* before the first wake-up */
	ck_assert(slot_reserve(&proxy, roomy->capacity));
	dial_many(40);
	hand_some_off();
	for (int i = 0; i < 100; i++)
		turn_all();
	ck_assert_uint_eq(n_lost(), n_handed_off());
	ck_assert_int_lt(n_replies, want);
	slot_release(&proxy, roomy->capacity);
	TURN_UNTIL(n_replies == want);
	ck_assert_uint_eq(atomic_load(&roomy->capacity->n_used), CAPACITY_CLOSED);
	ck_assert(!slot_reserve(&proxy, roomy->capacity));
	ck_assert_uint_eq(atomic_load(&proxy.n_conns), 0);
	ck_assert_int_eq(ask(&message_quit_new(0)->base), 0);
	free_reply();
	close_clients();
	end_serving();
}
END_TEST

/* ---- what fails ------------------------------------------------------------------------------ */

/* The kernel refuses to carry it: that one is closed and counted, the next ones wait a little. */
START_TEST(a_hand_off_socket_that_fails_is_survived)
{
	begin_handoffs(_i, 0, 1000);
	int end = proxy.handoff_fd[0];
	proxy.handoff_fd[0] = -1;
	dial_many(40);
	TURN_UNTIL(n_lost() > 0);
	ck_assert(full->is_paused);
	ck_assert_int_eq(n_logged, 1);
	ck_assert_uint_eq(n_handed_off(), 0);
	proxy.handoff_fd[0] = end;
	TURN_UNTIL(n_relaying() + n_lost() == 40);
	end_handoffs();
}
END_TEST

/* The table there is fuller than it should be, and the kernel drops them. */
START_TEST(a_full_table_loses_connections_and_no_slots)
{
	struct rlimit all, few;

	begin_handoffs(_i, 0, 1000);
	roomy->capacity->n_slots = 1000;
	dial_many(40);
	hand_some_off();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
	few = (struct rlimit){ .rlim_cur = 1, .rlim_max = all.rlim_max }; /* poll(2) needs one */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	STEP_UNTIL(n_lost() > 0, ck_assert_int_eq(loop_turn(roomy->loop, 1), 0));
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all), 0);
	ck_assert_uint_eq(n_lost(), n_handed_off());
	ck_assert_uint_eq(atomic_load(&roomy->capacity->n_pending), 0);
	TURN_UNTIL(n_relaying() + n_lost() == 40);
	ck_assert_uint_eq(atomic_load(&proxy.n_conns), n_relaying());
	end_handoffs();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 60); /* two workers a test take seconds under ThreadSanitizer */
	tcase_add_loop_test(t, every_slot_is_used, 0, n_engines * (int)ARRAY_SIZE(shares));
	tcase_add_loop_test(t, a_handed_off_one_is_like_any_other, 0, n_engines);
	tcase_add_loop_test(t, nothing_is_handed_off_without_need, 0, n_engines);
	tcase_add_loop_test(t, few_are_on_their_way, 0, n_engines);
	tcase_add_loop_test(t, the_limit_over_all_is_exact, 0, n_engines);
	tcase_add_loop_test(t, a_listener_is_open_everywhere_first, 0, n_engines);
	tcase_add_loop_test(t, one_for_a_removed_listener_is_closed, 0, n_engines);
	tcase_add_loop_test(t, a_worker_that_quits_waits_for_hand_offs, 0, n_engines);
	tcase_add_loop_test(t, a_hand_off_socket_that_fails_is_survived, 0, n_engines);
	tcase_add_loop_test(t, a_full_table_loses_connections_and_no_slots, 0, n_engines);
}

int main(void)
{
	return run_on_engines("proxy/handoff", add_tests);
}
