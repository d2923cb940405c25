/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over the sessions of the first worker: beside each other, beside main's messages, and while
 * sessions end and are born.
 */
#include <signal.h>
#include <string.h>

#include "worker_fixture.h"

#include "proxy/session.h"
#include "proxy/walk.h"
#include "util/slab.h"

#define N_WALKS 40
#define MAX_IDS 8192 /* connection ids of one test */

/* A walk that notes which sessions it visits. */
struct trial {
	struct walk walk;
	uint8_t n_visits[MAX_IDS]; /* by connection id */
	uint32_t n;                /* visits */
	uint32_t n_done;           /* calls of `done`, at most 1 */
	int ended;                 /* which of all walks it was that ended, from 1 */
	bool is_ending;            /* it ends what it visits */
	struct trial *next;        /* begun when this one has ended */

	/* Cancelled by this one: at this visit of its own, or by its `done` where that is 0. */
	struct trial *victim;
	uint32_t cancels_at;
	bool is_anew; /* the victim is begun again at once */
};

static struct trial *trial;
static int n_ended;
static const struct walk_ops trial_ops;

/* A cancelled walk belongs to its owner, who may overwrite it. */
static void cancel(struct worker *w, struct trial *o)
{
	ck_assert(walk_is_under_way(&o->walk));
	walk_cancel(w, &o->walk);
	memset(&o->walk, 0xa5, sizeof(o->walk));
}

static void cancel_victim(struct worker *w, struct trial *o)
{
	struct trial *victim = o->victim;

	o->victim = NULL;
	cancel(w, victim);
	if (!o->is_anew)
		return;
	memset(victim->n_visits, 0, sizeof(victim->n_visits));
	victim->n = 0;
	walk_begin(w, &victim->walk, &trial_ops, 2, 0);
}

static void visit(struct walk *k, struct session *s)
{
	struct trial *o = container_of(k, struct trial, walk);

	ck_assert_ptr_eq(s->worker, rigs[0].w);
	ck_assert_int_ne(s->state, SESS_DEAD);
	ck_assert_uint_lt(s->id, MAX_IDS);
	o->n_visits[s->id]++;
	o->n++;
	if (o->is_ending)
		session_close_now(s, SESS_END_STOP);
	if (o->victim != NULL && o->n == o->cancels_at)
		cancel_victim(s->worker, o);
}

static void done(struct walk *k, struct worker *w)
{
	struct trial *o = container_of(k, struct trial, walk);

	ck_assert_ptr_eq(w, rigs[0].w);
	ck_assert(!list_is_linked(&k->link));
	o->n_done++;
	o->ended = ++n_ended;
	if (o->next != NULL)
		walk_begin(w, &o->next->walk, &trial_ops, 0, 0);
	if (o->victim != NULL)
		cancel_victim(w, o);
}

static const struct walk_ops trial_ops = { .visit = visit, .done = done };

static void begin_walks(int engine)
{
	begin_serving(engine);
	put_in_force();
	trial = calloc(N_WALKS, sizeof(*trial));
	ck_assert_ptr_nonnull(trial);
	n_ended = 0;
}

static void end_walks(void)
{
	ck_assert(list_is_empty(&rigs[0].w->walks));
	free(trial);
	close_clients();
	put_out_of_force();
	end_serving();
}

static void begin_trial(struct trial *o, uint32_t slice, uint32_t pause_ms)
{
	walk_begin(rigs[0].w, &o->walk, &trial_ops, slice, pause_ms);
}

static uint32_t n_there(void)
{
	return rigs[0].w->n_sessions;
}

/* Whether a walk has visited each session that lives now once. */
static void check_whole(const struct trial *o)
{
	uint32_t cursor = 0;
	const struct session *s;

	ck_assert_uint_eq(o->n_done, 1);
	while ((s = slab_next(rigs[0].w->sessions, &cursor)) != NULL)
		ck_assert_msg(o->n_visits[s->id] == 1, "connection %llu: %u visits",
			      (unsigned long long)s->id, o->n_visits[s->id]);
}

/* ---- beside each other ----------------------------------------------------------------------- */

static const struct {
	uint32_t slice, pause_ms;
	int ends; /* as which one */
} pace[] = {
	/* the first one to begin is the last one to end */
	{ 1, 2, 4 },
	{ 2, 0, 3 },
	{ 16, 0, 2 },
	{ 0, 0, 1 },
};

START_TEST(walks_end_in_the_order_of_their_paces)
{
	begin_walks(_i);
	open_clients(200);
	for (size_t i = 0; i < ARRAY_SIZE(pace); i++)
		begin_trial(&trial[i], pace[i].slice, pace[i].pause_ms);
	TURN_UNTIL(n_ended == (int)ARRAY_SIZE(pace));
	for (size_t i = 0; i < ARRAY_SIZE(pace); i++) {
		check_whole(&trial[i]);
		ck_assert_uint_eq(trial[i].n, n_there());
		ck_assert_int_eq(trial[i].ended, pace[i].ends);
	}
	end_walks();
}
END_TEST

/* Turns the first worker once; how many visits all walks have made in that turn. */
static uint32_t visits_of_a_turn(void)
{
	uint32_t before = 0, after = 0;

	for (int i = 0; i < N_WALKS; i++)
		before += trial[i].n;
	ck_assert_int_eq(loop_turn(rigs[0].loop, 1), 0);
	for (int i = 0; i < N_WALKS; i++)
		after += trial[i].n;
	return after - before;
}

static const struct {
	const char *name;
	uint32_t turn; /* visits per turn */
	int n_walks;   /* that are always due */
	uint32_t slice;
	uint32_t want;  /* visits of a turn while none of them ends */
	uint32_t apart; /* by so much one walk may be ahead of another one */
} shares[] = {
	{ "one has the whole turn", 30, 1, 0, 30, 0 },
	{ "two have a half each", 30, 2, 0, 30, 0 },
	{ "what cannot be shared evenly is left", 32, 3, 0, 30, 0 },
	{ "a slice is less than the share", 30, 2, 4, 8, 0 },
	{ "as many as visits", N_WALKS, N_WALKS, 0, N_WALKS, 0 },
	{ "more than visits: by turns", 7, N_WALKS, 0, 7, 1 },
};

/* By how many visits the walk that is ahead is ahead of the last one. */
static uint32_t distance(int n_walks)
{
	uint32_t least = UINT32_MAX, most = 0;

	for (int i = 0; i < n_walks; i++) {
		least = trial[i].n < least ? trial[i].n : least;
		most = trial[i].n > most ? trial[i].n : most;
	}
	return most - least;
}

/* What all walks do in a turn has its bound, and they have even shares of it. */
START_TEST(walks_share_a_turn)
{
	int row = _i / n_engines, n_walks = shares[row].n_walks, n_turns = 0;

	begin_walks(_i % n_engines);
	open_clients(300);
	rigs[0].w->walk_turn = shares[row].turn;
	for (int i = 0; i < n_walks; i++)
		begin_trial(&trial[i], shares[row].slice, 0);
	for (; n_turns < 100; n_turns++) {
		uint32_t n = visits_of_a_turn();
		ck_assert_uint_le(n, shares[row].turn);
		if (n_ended > 0)
			break;
		ck_assert_msg(n == shares[row].want, "%s: %u", shares[row].name, n);
		ck_assert_msg(distance(n_walks) <= shares[row].apart, "%s: %u", shares[row].name,
			      distance(n_walks));
	}
	ck_assert_int_ge(n_turns, 3); /* some hundred sessions are more than a few turns */
	TURN_UNTIL(n_ended == n_walks);
	for (int i = 0; i < n_walks; i++)
		check_whole(&trial[i]);
	end_walks();
}
END_TEST

/* A walk that pauses takes nothing of a turn from one that is due. */
START_TEST(a_pause_costs_the_others_nothing)
{
	begin_walks(_i);
	open_clients(200);
	rigs[0].w->walk_turn = 20;
	begin_trial(&trial[0], 1, 3600000);
	ck_assert_uint_eq(visits_of_a_turn(), 1);
	begin_trial(&trial[1], 0, 0);
	ck_assert_uint_eq(visits_of_a_turn(), 20);
	ck_assert_uint_eq(trial[1].n, 20);
	TURN_UNTIL(n_ended == 1);
	ck_assert_uint_eq(trial[0].n, 1);
	trial[0].walk.due_ms = 0; /* the pause is over */
	begin_trial(&trial[2], 0, 0);
	trial[0].walk.slice = trial[0].walk.pause_ms = 0;
	TURN_UNTIL(n_ended == 3);
	check_whole(&trial[0]);
	end_walks();
}
END_TEST

START_TEST(a_walk_without_sessions_ends)
{
	begin_walks(_i);
	begin_trial(&trial[0], 0, 0);
	ck_assert_uint_eq(trial[0].n_done, 0); /* not before the next turn */
	TURN_UNTIL(n_ended == 1);
	ck_assert_uint_eq(trial[0].n, 0);
	end_walks();
}
END_TEST

START_TEST(the_end_of_a_walk_may_begin_another)
{
	begin_walks(_i);
	open_clients(100);
	for (int i = 0; i < 5; i++)
		trial[i].next = &trial[i + 1];
	begin_trial(&trial[0], 0, 0);
	begin_trial(&trial[9], 7, 0);
	TURN_UNTIL(n_ended == 7);
	for (int i = 0; i < 6; i++)
		check_whole(&trial[i]);
	check_whole(&trial[9]);
	end_walks();
}
END_TEST

/* ---- sessions come and go -------------------------------------------------------------------- */

/* Those that live from begin to end are visited once, and those that come or go once at most. */
START_TEST(sessions_end_and_are_born_meanwhile)
{
	enum { N = 150, N_GONE = 50, N_NEW = 100 };

	begin_walks(_i);
	open_clients(N + N_GONE);
	begin_trial(&trial[0], 1, 0);
	begin_trial(&trial[1], 3, 0);
	while (n_clients > N) { /* the youngest, which the walks have not seen yet */
		close_peer(clients[--n_clients], true);
		turn_all();
	}
	TURN_UNTIL(n_relaying() == N);
	uint64_t last_old = rigs[0].w->next_id;
	begin_trial(&trial[2], 2, 0);
	open_clients(N_NEW);
	TURN_UNTIL(n_ended == 3);
	for (int i = 0; i < 3; i++) {
		uint32_t cursor = 0;
		const struct session *s;
		while ((s = slab_next(rigs[0].w->sessions, &cursor)) != NULL)
			ck_assert_uint_eq(trial[i].n_visits[s->id],
					  s->id <= last_old ? 1 : trial[i].n_visits[s->id] > 0);
		for (uint64_t id = 0; id < MAX_IDS; id++)
			ck_assert_uint_le(trial[i].n_visits[id], 1);
	}
	end_walks();
}
END_TEST

/* A walk may end what it visits, as a paced drain does; another one meets none of the dead. */
START_TEST(a_walk_may_end_sessions)
{
	begin_walks(_i);
	open_clients(200);
	uint32_t n = n_there(), n_second = rigs[1].w->n_sessions;
	trial[0].is_ending = true;
	begin_trial(&trial[0], 3, 1);
	begin_trial(&trial[1], 2, 1);
	TURN_UNTIL(n_ended == 2);
	ck_assert_uint_eq(trial[0].n, n);
	ck_assert_uint_lt(trial[1].n, n);
	TURN_UNTIL(n_there() == 0);
	ck_assert_uint_eq(rigs[1].w->n_sessions, n_second);
	ck_assert_uint_eq(counter_read(&rigs[0].w->stats->ends[SESS_END_STOP]), n);
	end_walks();
}
END_TEST

/* ---- cancelled ------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int canceller, victim; /* of three walks, in the order of their begin */
	uint32_t at;           /* visit of the canceller; 0: its end */
	bool is_anew;
	uint32_t least, most; /* visits of the victim when it is cancelled */
} cancels[] = {
	/* 300 sessions and 30 visits per turn: each of three walks has 10 in its first turn */
	{ "by its own first visit", 1, 1, 1, false, 1, 1 },
	{ "by its own visit in the middle of a slice", 1, 1, 15, false, 15, 15 },
	{ "by the last visit of its own slice", 1, 1, 10, false, 10, 10 },
	{ "by its own visit, and begun again", 1, 1, 15, true, 0, 0 },
	{ "by another one's visit, before its first slice", 0, 1, 1, false, 0, 0 },
	{ "by another one's visit, behind its slice", 2, 1, 1, false, 10, 10 },
	{ "by another one's visit, and begun again", 0, 2, 12, true, 0, 0 },
	{ "the last of the list by the first", 0, 2, 11, false, 10, 10 },
	{ "the first of the list by the last", 2, 0, 11, false, 20, 20 },
	{ "by the end of another one", 0, 1, 0, false, 1, 300 },
};

/* The other walks go on as if there had been no cancelled one. */
START_TEST(a_walk_is_cancelled_from_within)
{
	int row = _i / n_engines;

	begin_walks(_i % n_engines);
	open_clients(600); /* 300 for each worker, or about as many */
	rigs[0].w->walk_turn = 30;
	for (int i = 0; i < 3; i++)
		begin_trial(&trial[i], 0, 0);
	struct trial *canceller = &trial[cancels[row].canceller];
	struct trial *victim = &trial[cancels[row].victim];
	bool is_anew = cancels[row].is_anew, is_own = canceller == victim;
	if (cancels[row].at == 0) /* so that it ends first */
		trial[1].walk.slice = trial[2].walk.slice = 1;
	canceller->victim = victim;
	canceller->cancels_at = cancels[row].at;
	canceller->is_anew = is_anew;

	TURN_UNTIL(canceller->victim == NULL);
	ck_assert_msg(victim->n >= cancels[row].least && victim->n <= cancels[row].most, "%s: %u",
		      cancels[row].name, victim->n);
	uint32_t n = victim->n;
	TURN_UNTIL(n_ended == 2 + is_anew);
	for (int i = 0; i < 3; i++)
		if (&trial[i] != victim || is_anew)
			check_whole(&trial[i]);
	if (!is_anew) {
		ck_assert_msg(victim->n == n && victim->n_done == 0, "%s: visited behind its end",
			      cancels[row].name);
		ck_assert(is_own || canceller->n_done == 1);
	}
	end_walks();
}
END_TEST

/* From outside of all walks; the worker's timer does not fire for the cancelled walk. */
START_TEST(a_walk_is_cancelled_from_outside)
{
	begin_walks(_i);
	open_clients(100);
	begin_trial(&trial[0], 1, 0);
	begin_trial(&trial[1], 1, 3600000);
	TURN_UNTIL(trial[0].n == 3 && trial[1].n == 1);
	cancel(rigs[0].w, &trial[1]);
	ck_assert(timer_is_running(&rigs[0].w->walk_timer));
	cancel(rigs[0].w, &trial[0]);
	ck_assert(!timer_is_running(&rigs[0].w->walk_timer));
	begin_trial(&trial[2], 0, 0);
	cancel(rigs[0].w, &trial[2]); /* before its first slice */
	for (int i = 0; i < 5; i++)
		turn_all();
	ck_assert(trial[0].n == 3 && trial[1].n == 1 && trial[2].n == 0);
	ck_assert_int_eq(n_ended, 0);
	end_walks();
}
END_TEST

START_TEST(what_is_not_under_way_is_not_cancelled)
{
	begin_walks(0);
	begin_trial(&trial[0], 0, 0);
	TURN_UNTIL(n_ended == 1);
	walk_cancel(rigs[0].w, &trial[0].walk);
}
END_TEST

/* ---- beside messages ------------------------------------------------------------------------- */

/* A walk that goes on for hours holds up neither a list nor a reload, and ends with its worker. */
START_TEST(a_slow_walk_holds_nothing_up)
{
	begin_walks(_i);
	open_clients(200);
	begin_trial(&trial[0], 1, 3600000);
	for (int round = 0; round < 3; round++) {
		struct message *list = &conns_of(0, 1000)->base;
		struct message_apply *apply = apply_of(0, snapshot, members, true);
		int want = n_replies + 2;

		apply->has_new_timeouts = true; /* so that it walks, too */
		post(round % 2 ? list : &apply->base);
		post(round % 2 ? &apply->base : list);
		TURN_UNTIL(n_replies == want);
		ck_assert_int_eq(ask(&conns_of(0, 1000)->base), 0);
		ck_assert_uint_eq(listed()->n_rows, n_there());
		ck_assert_uint_eq(trial[0].n, 1);
		ck_assert_uint_eq(trial[0].n_done, 0);
	}
	for (int i = 0; i < N_WORKERS; i++)
		ck_assert_int_eq(ask(&message_quit_new((uint32_t)i)->base), 0);
	ck_assert_uint_eq(trial[0].n_done, 1);
	free_reply();
	free(trial);
	close_clients();
	end_serving();
}
END_TEST

/* A list is not kept waiting by a reload whose old sockets have not left. */
START_TEST(a_list_passes_a_reload)
{
	begin_walks(_i);
	proxy.leaving_ms = 200;
	open_clients(20);
	int want = n_replies + 1;
	struct message *list = &conns_of(0, 1000)->base;
	post(&apply_of(0, snapshot, members, false)->base);
	post(list);
	TURN_UNTIL(n_replies == want);
	ck_assert_ptr_eq(reply, list);
	ck_assert_uint_eq(listed()->n_rows, n_there());
	TURN_UNTIL(n_replies == want + 1);
	free_reply();
	proxy.leaving_ms = 0;
	end_walks();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, walks_end_in_the_order_of_their_paces, 0, n_engines);
	tcase_add_loop_test(t, walks_share_a_turn, 0, n_engines * (int)ARRAY_SIZE(shares));
	tcase_add_loop_test(t, a_pause_costs_the_others_nothing, 0, n_engines);
	tcase_add_loop_test(t, a_walk_without_sessions_ends, 0, n_engines);
	tcase_add_loop_test(t, the_end_of_a_walk_may_begin_another, 0, n_engines);
	tcase_add_loop_test(t, sessions_end_and_are_born_meanwhile, 0, n_engines);
	tcase_add_loop_test(t, a_walk_may_end_sessions, 0, n_engines);
	tcase_add_loop_test(t, a_walk_is_cancelled_from_within, 0,
			    n_engines * (int)ARRAY_SIZE(cancels));
	tcase_add_loop_test(t, a_walk_is_cancelled_from_outside, 0, n_engines);
	tcase_add_test_raise_signal(t, what_is_not_under_way_is_not_cancelled, SIGABRT);
	tcase_add_loop_test(t, a_slow_walk_holds_nothing_up, 0, n_engines);
	tcase_add_loop_test(t, a_list_passes_a_reload, 0, n_engines);
}

int main(void)
{
	return run_on_engines("proxy/walk", add_tests);
}
