/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages from main to two workers in one thread: sockets are passed, adopted, opened and
 * closed; sessions are listed and ended. Clients and the backend are plain sockets.
 */
#include "worker_fixture.h"

#include <sys/resource.h>

#include "proxy/capacity.h"
#include "proxy/session.h"
#include "util/slab.h"

/* ---- sockets --------------------------------------------------------------------------------- */

START_TEST(a_taken_socket_is_parked_until_it_is_applied)
{
	int copy, client;

	begin_serving(_i);
	pass_socket(0, 1, &copy);
	ck_assert_int_eq(ask_adopt(0), 0);
	struct listen_socket *ls = list_entry(rigs[0].w->listen.next, struct listen_socket, link);
	ck_assert_int_eq(ls->state, LISTEN_PARKED);
	ck_assert_ptr_eq(ls->listener, listener);
	ck_assert_int_eq(loop_listen(loop, copy, 10), 0);
	client = dial(listener->addr.port);
	for (int i = 0; i < 10; i++)
		turn_all();
	ck_assert_uint_eq(rigs[0].w->n_sessions, 0); /* the kernel's queue holds it */

	ck_assert_int_eq(ask_apply(0, true), 0);
	ck_assert_int_eq(ls->state, LISTEN_OPEN);
	TURN_UNTIL(n_relaying() == 1);
	ck_assert_uint_eq(counter_read(&listener->tally[0].accepted), 1);
	ck_assert_uint_eq(counter_read(&listener->tally[0].active), 1);
	loop_close(loop, copy);
	clients[n_clients++] = client;
	close_clients();
	ck_assert_uint_eq(counter_read(&listener->tally[0].active), 0);
	put_out_of_force();
	end_serving();
}
END_TEST

START_TEST(a_dropped_socket_is_gone)
{
	begin_serving(_i);
	int before = n_fds();
	pass_socket(0, 1, NULL);
	ck_assert_int_eq(ask_adopt(0), 0);
	ck_assert_int_eq(ask(message_abort_new(0)), 0);
	ck_assert(list_is_empty(&rigs[0].w->listen));
	turn_all();
	ck_assert_int_eq(n_fds(), before);
	free_reply();
	end_serving();
}
END_TEST

/* A refused reload takes back what it brought, and nothing else. */
START_TEST(dropping_spares_what_is_open)
{
	begin_serving(_i);
	put_in_force();
	open_clients(4);
	for (int i = 0; i < N_WORKERS; i++)
		ck_assert_int_eq(ask(message_abort_new((uint32_t)i)), 0);
	open_clients(4);
	close_clients();
	put_out_of_force();
	end_serving();
}
END_TEST

static const struct {
	const char *name;
	bool is_passed;
	uint64_t number; /* the listener's is 1 */
	int want;
} takes[] = {
	{ "nothing was passed", false, 0, -EAGAIN },
	{ "another listener's socket was passed", true, 2, -EPROTO },
};

START_TEST(a_failed_adopt_has_a_reply)
{
	begin_serving(_i % n_engines);
	int before = n_fds();
	if (takes[_i / n_engines].is_passed)
		pass_socket(0, takes[_i / n_engines].number, NULL);
	ck_assert_msg(ask_adopt(0) == takes[_i / n_engines].want, "%s", takes[_i / n_engines].name);
	ck_assert(list_is_empty(&rigs[0].w->listen));
	turn_all();
	ck_assert_int_eq(n_fds(), before);
	free_reply();
	end_serving();
}
END_TEST

/* The kernel drops a descriptor that finds no room: main hears of it. */
START_TEST(a_full_table_has_a_reply)
{
	struct rlimit all, few;

	begin_serving(_i);
	pass_socket(0, 1, NULL);
	turn_all();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
	few = (struct rlimit){ .rlim_cur = 0, .rlim_max = all.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	int r = ask_adopt(0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all), 0);
	ck_assert_int_eq(r, -EMFILE);
	ck_assert(list_is_empty(&rigs[0].w->listen));

	/* Nothing of it is left in the channel: the next one is whole. */
	pass_socket(0, 1, NULL);
	ck_assert_int_eq(ask_adopt(0), 0);
	ck_assert_int_eq(ask(message_abort_new(0)), 0);
	free_reply();
	end_serving();
}
END_TEST

/* ---- a table that is full -------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint32_t max_sessions; /* far from it many are accepted at a time */
} manners[] = {
	{ "many at a time", 100000 },
	{ "one by one", MAX_SESSIONS },
};

#define PAUSE_MS 50 /* as in worker.c */

static uint64_t n_pauses(void)
{
	uint64_t n = 0;

	for (int i = 0; i < N_WORKERS; i++)
		n += counter_read(&rigs[i].w->stats->pauses);
	return n;
}

/*
 * No descriptor is left to accept with: the kernel's queue holds who comes, the workers look again
 * now and then, and say so once; then everybody is let in.
 */
START_TEST(a_full_table_is_waited_out)
{
	enum { N = 40 };
	struct rlimit all, few;

	begin_serving(_i % n_engines);
	for (int i = 0; i < N_WORKERS; i++)
		rigs[i].w->capacity->n_slots = manners[_i / n_engines].max_sessions;
	listen_parked();
	for (int i = 0; i < N; i++)
		clients[n_clients++] = dial(listener->addr.port);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
	few = (struct rlimit){ .rlim_cur = 1, .rlim_max = all.rlim_max }; /* poll(2) needs one */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	uint64_t start_ms = loop_now_ms(loop);
	apply_all();
	while (loop_now_ms(loop) - start_ms < 3 * PAUSE_MS)
		turn_all();
	uint64_t passed_ms = loop_now_ms(loop) - start_ms;
	uint64_t n = n_pauses();
	uint32_t n_in = rigs[0].w->n_sessions + rigs[1].w->n_sessions;
	int n_lines = n_logged;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all), 0);

	ck_assert_msg(n_in == 0, "%s: %u are in", manners[_i / n_engines].name, n_in);
	ck_assert_uint_ge(n, 2);
	ck_assert_uint_le(n, N_WORKERS * (passed_ms / PAUSE_MS + 1));
	ck_assert_int_ge(n_lines, 1);
	ck_assert_int_le(n_lines, N_WORKERS);
	TURN_UNTIL(n_relaying() == N);
	close_clients();
	put_out_of_force();
	end_serving();
}
END_TEST

/* ---- a new configuration --------------------------------------------------------------------- */

START_TEST(a_removed_listener_keeps_its_sessions)
{
	begin_serving(_i);
	put_in_force();
	open_clients(10);
	put_out_of_force();
	struct sockaddr_in to = loopback(listener->addr.port);
	int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(late, (struct sockaddr *)&to, sizeof(to)), -1);
	ck_assert_int_eq(errno, ECONNREFUSED);
	close(late);
	for (int i = 0; i < 10; i++)
		turn_all();
	ck_assert_uint_eq(n_relaying(), 10);
	close_clients();
	end_serving();
}
END_TEST

/* It accepts for a while longer, and drops who begins to connect; then the reply comes. */
START_TEST(a_removed_listener_takes_its_leave)
{
	begin_serving(_i);
	proxy.leaving_ms = 100;
	put_in_force();
	open_clients(2);
	struct listen_socket *ls = list_entry(rigs[0].w->listen.next, struct listen_socket, link);
	int want = n_replies + N_WORKERS, queued = dial(listener->addr.port);
	for (int i = 0; i < N_WORKERS; i++) {
		post(&apply_of(i, snapshot, members, false)->base);
	}
	uint64_t start_ms = loop_now_ms(loop);
	TURN_UNTIL(ls->state == LISTEN_LEAVING);
	ck_assert_uint_eq(atomic_load(&listener->n_open), 0);
	clients[n_clients++] = queued;
	TURN_UNTIL(n_relaying() == 3);
	struct sockaddr_in to = loopback(listener->addr.port);
	int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_eq(connect(late, (struct sockaddr *)&to, sizeof(to)), -1);
	ck_assert_int_eq(errno, EINPROGRESS);

	TURN_UNTIL(n_replies == want);
	ck_assert_uint_ge(loop_now_ms(loop) - start_ms, 100);
	for (int i = 0; i < 10; i++)
		turn_all();
	ck_assert_uint_eq(n_relaying(), 3);
	close(late);
	free_reply();
	close_clients();
	end_serving();
}
END_TEST

/* More sockets than a turn opens: all are, before the reply comes; a stop ends that. */
START_TEST(many_sockets_are_opened_in_slices)
{
	enum { N = 200 };
	static struct listener *many[N];
	int n_open = 0, copies[N];

	begin_serving(_i);
	struct listen_socket *ls[N];
	for (int i = 0; i < N; i++) {
		struct addr any = { .family = AF_INET, .v4 = { 127, 0, 0, 1 } };
		copies[i] = sock_bind_shared(loop, &any);
		many[i] = listener_new((uint64_t)(10 + i), &any, "m", N_WORKERS);
		many[i]->snapshot_index = 0;
		ck_assert_int_eq(loop_pass_fd(loop, rigs[0].channel[0], copies[i], many[i]->number),
				 0);
		ck_assert_int_eq(ask(adopt_of(0, many[i])), 0);
		ls[i] = list_entry(rigs[0].w->listen.prev, struct listen_socket, link);
		ck_assert_int_eq(loop_listen(loop, copies[i], 1), 0);
	}
	int want = n_replies + 1;
	post(&apply_of(0, snapshot, members, false)->base);
	TURN_UNTIL(ls[0]->state == LISTEN_OPEN);
	for (int i = 0; i < N; i++)
		n_open += ls[i]->state == LISTEN_OPEN;
	ck_assert_int_lt(n_open, N);
	ck_assert_int_lt(n_replies, want);
	TURN_UNTIL(n_replies == want);
	for (int i = 0; i < N; i++) {
		ck_assert_int_eq(ls[i]->state, LISTEN_OPEN);
		ck_assert_ptr_eq(ls[i]->snapshot, snapshot);
		loop_close(loop, copies[i]);
		many[i]->snapshot_index = LISTENER_REMOVED;
	}
	ck_assert_int_eq(ask_apply(0, false), 0);
	for (int i = 0; i < N; i++) {
		ck_assert_uint_eq(ref_count(&many[i]->refs), 1);
		listener_unref(many[i]);
	}
	free_reply();
	end_serving();
}
END_TEST

/* The socket is kept, and with it who waits in its queue. */
START_TEST(applying_again_keeps_the_socket)
{
	begin_serving(_i);
	put_in_force();
	struct listen_socket *ls = list_entry(rigs[0].w->listen.next, struct listen_socket, link);
	int fd = ls->fd;
	for (int round = 0; round < 3; round++) {
		open_clients(5);
		for (int i = 0; i < N_WORKERS; i++)
			ck_assert_int_eq(ask_apply(i, true), 0);
		ck_assert_ptr_eq(list_entry(rigs[0].w->listen.next, struct listen_socket, link),
				 ls);
		ck_assert_int_eq(ls->fd, fd);
		ck_assert_int_eq(ls->state, LISTEN_OPEN);
	}
	free_reply();
	close_clients();
	put_out_of_force();
	end_serving();
}
END_TEST

START_TEST(members_are_replaced)
{
	begin_serving(_i);
	put_in_force();
	ck_assert_ptr_eq(worker_members(rigs[0].w, pool), members);
	struct members *next = members_with(5);
	for (int i = 0; i < N_WORKERS; i++) {
		struct message_members *m = message_members_new((uint32_t)i, next);
		ck_assert_int_eq(ask(&m->base), 0);
		ck_assert_ptr_eq(m->members, members); /* which main frees */
		ck_assert_ptr_eq(worker_members(rigs[i].w, pool), next);
	}
	free_reply();
	ck_assert_uint_eq(ref_count(&members->refs), 1);
	open_clients(3);
	close_clients();
	put_out_of_force(); /* names `members` again */
	ck_assert_uint_eq(ref_count(&next->refs), 1);
	members_unref(next);
	end_serving();
}
END_TEST

/* A pool that is named no more gives its members up, so that removed backends can go. */
START_TEST(members_of_a_removed_pool_are_given_up)
{
	begin_serving(_i);
	put_in_force();
	for (int i = 0; i < N_WORKERS; i++) {
		ck_assert_int_eq(ask(&apply_of(i, snapshot, NULL, false)->base), 0);
		ck_assert_ptr_null(worker_members(rigs[i].w, pool));
	}
	free_reply();
	ck_assert_uint_eq(ref_count(&members->refs), 1);
	end_serving();
}
END_TEST

/* Who was routed to the pool before it left the file picks from what the pool keeps. */
START_TEST(a_removed_pool_is_picked_from_what_it_keeps)
{
	begin_serving(_i);
	put_in_force();
	struct pool *other = pool_new(&conf->pools[0], 0); /* with the same slot */
	struct members_entry e = { .backend = backend, .weight = 1 };
	struct members *others = members_new(other, CONF_BALANCE_FIRST, 0, &e, 1);
	pool_keep_members(pool, members);
	for (int i = 0; i < N_WORKERS; i++) {
		ck_assert_int_eq(ask(&apply_of(i, snapshot, others, false)->base), 0);
		ck_assert_ptr_eq(worker_members(rigs[i].w, other), others);
		ck_assert_ptr_eq(worker_members(rigs[i].w, pool), members);
	}
	free_reply();
	pool_keep_members(pool, NULL);
	ck_assert_ptr_null(worker_members(rigs[0].w, pool));
	ck_assert_uint_eq(ref_count(&members->refs), 1);
	members_unref(others);
	pool_unref(other);
	end_serving();
}
END_TEST

/* What an APPLY replaces comes back to main, which frees it: a worker's turn has no time for it. */
START_TEST(what_is_replaced_is_freed_on_main)
{
	begin_serving(_i);
	put_in_force();
	struct snapshot *next = snapshot_new(conf, &pool, names);
	for (int i = 0; i < N_WORKERS; i++) {
		struct message_apply *m = apply_of(i, next, members, true);
		ck_assert_int_eq(ask(&m->base), 0);
		ck_assert_ptr_eq(rigs[i].w->snapshot, next);
		ck_assert_ptr_eq(m->snapshot, snapshot);
		ck_assert_uint_eq(m->n_slots, 1);
		ck_assert_ptr_eq(m->slots[0], members);
	}
	free_reply();
	ck_assert(snapshot_is_unused(snapshot));
	put_out_of_force();
	ck_assert(snapshot_is_unused(next));
	snapshot_unref(next);
	end_serving();
}
END_TEST

/* ---- lists ----------------------------------------------------------------------------------- */

/* What each filter leaves of N sessions, over both workers. */
#define N_LISTED 600 /* more than one slice of a walk */

static const struct {
	const char *name;
	struct conn_filter filter;
	int want;
} filters[] = {
	{ "all", { .limit = 10000 }, N_LISTED },
	{ "this pool", { .pool = "p", .limit = 10000 }, N_LISTED },
	{ "another pool", { .pool = "pp", .limit = 10000 }, 0 },
	{ "this backend", { .backend = "b", .limit = 10000 }, N_LISTED },
	{ "another backend", { .backend = "a", .limit = 10000 }, 0 },
	{ "older than an hour", { .min_age_ns = 3600000000000, .limit = 10000 }, 0 },
	{ "clients of loopback",
	  { .has_client = true,
	    .client = { .net = { .family = AF_INET, .v4 = { 127 } }, .bits = 8 },
	    .limit = 10000 },
	  N_LISTED },
	{ "clients from elsewhere",
	  { .has_client = true,
	    .client = { .net = { .family = AF_INET, .v4 = { 10 } }, .bits = 8 },
	    .limit = 10000 },
	  0 },
};

static void check_row(const struct conn_row *r)
{
	ck_assert_str_eq(r->listener, "l");
	ck_assert_str_eq(r->pool, "p");
	ck_assert_ptr_eq(r->backend, backend);
	ck_assert_str_eq(r->state, "relay");
	ck_assert_uint_ne(r->client.port, 0);
	ck_assert_uint_gt(r->id, 0);
}

static int by_id(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

START_TEST(connections_are_listed)
{
	static uint64_t ids[N_LISTED];

	begin_serving(_i);
	put_in_force();
	open_clients(N_LISTED);
	for (size_t f = 0; f < ARRAY_SIZE(filters); f++) {
		size_t n = 0;
		for (int i = 0; i < N_WORKERS; i++) {
			const struct conn_list *l = list_conns(i, &filters[f].filter);
			for (size_t r = 0; r < l->n_rows && n < N_LISTED; r++)
				ids[n++] = l->rows[r].id;
			if (l->n_rows > 0)
				check_row(&l->rows[l->n_rows - 1]);
		}
		ck_assert_msg(n == (size_t)filters[f].want, "%s: %zu", filters[f].name, n);
		qsort(ids, n, sizeof(ids[0]), by_id);
		for (size_t k = 1; k < n; k++)
			if (ids[k] == ids[k - 1])
				ck_abort_msg("%s: an id twice", filters[f].name);
	}
	free_reply();
	close_clients();
	put_out_of_force();
	end_serving();
}
END_TEST

START_TEST(a_list_has_its_limit)
{
	static const uint32_t limits[] = { 1, 7, 100 };

	begin_serving(_i);
	put_in_force();
	open_clients(400);
	for (size_t l = 0; l < ARRAY_SIZE(limits); l++) {
		for (int i = 0; i < N_WORKERS; i++) {
			const struct conn_filter f = { .limit = limits[l] };
			const struct conn_list *list = list_conns(i, &f);
			ck_assert_uint_eq(list->n_rows, limits[l]);
			ck_assert_uint_eq(list->n_matching, rigs[i].w->n_sessions);
		}
	}
	free_reply();
	close_clients();
	put_out_of_force();
	end_serving();
}
END_TEST

static int by_rank_down(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x < *y) - (*x > *y);
}

/* What a sorted list with a limit holds are the first ones of the whole list. */
START_TEST(a_sorted_list_holds_the_first)
{
	static uint64_t all[400], few[400];
	enum { LIMIT = 17 };

	begin_serving(_i);
	put_in_force();
	open_clients(400);
	for (int i = 0; i < N_WORKERS; i++) {
		uint64_t *ranks[] = { all, few };
		for (int k = 0; k < 2; k++) {
			const struct conn_filter f = {
				.limit = k == 0 ? 400 : LIMIT,
				.sort = CONN_BY_AGE,
			};
			const struct conn_list *l = list_conns(i, &f);
			ck_assert_uint_gt(l->n_rows, k == 0 ? (size_t)LIMIT : LIMIT - 1);
			for (size_t r = 0; r < l->n_rows; r++)
				ranks[k][r] = l->rows[r].rank;
			qsort(ranks[k], l->n_rows, sizeof(uint64_t), by_rank_down);
			if (k == 0) /* they came in more than one turn */
				ck_assert_uint_ne(all[0], all[l->n_rows - 1]);
		}
		ck_assert_mem_eq(all, few, LIMIT * sizeof(uint64_t));
	}
	free_reply();
	close_clients();
	put_out_of_force();
	end_serving();
}
END_TEST

/* Several lists asked for at once run beside each other, and each is whole. */
START_TEST(lists_run_beside_each_other)
{
	enum { N = 5 };

	begin_serving(_i);
	put_in_force();
	open_clients(500);
	int want = n_replies + N;
	uint32_t there = rigs[0].w->n_sessions;
	for (int i = 0; i < N; i++)
		post(&conns_of(0, 10000)->base);
	TURN_UNTIL(n_replies == want);
	ck_assert_uint_eq(listed()->n_rows, there);
	free_reply();
	close_clients();
	put_out_of_force();
	end_serving();
}
END_TEST

/* ---- the end --------------------------------------------------------------------------------- */

START_TEST(a_stopped_worker_keeps_its_sessions)
{
	begin_serving(_i);
	put_in_force();
	open_clients(6);
	for (int i = 0; i < N_WORKERS; i++)
		ck_assert_int_eq(ask(message_stop_new((uint32_t)i)), 0);
	free_reply();
	TURN_UNTIL(n_relaying() == 6);
	ck_assert(rigs[0].w->is_stopping);
	close_clients();
	TURN_UNTIL(list_is_empty(&rigs[0].w->listen) && list_is_empty(&rigs[1].w->listen));
	end_serving();
}
END_TEST

/* The reply comes when every session is freed and counted under its reason. */
START_TEST(quitting_ends_every_session)
{
	begin_serving(_i);
	put_in_force();
	open_clients(300);
	uint64_t n = 0;
	for (int i = 0; i < N_WORKERS; i++) {
		ck_assert_int_eq(ask(&message_quit_new((uint32_t)i)->base), 0);
		ck_assert_uint_eq(rigs[i].w->n_sessions, 0);
		ck_assert_uint_eq(counter_read(&rigs[i].w->stats->active), 0);
		n += counter_read(&rigs[i].w->stats->ends[SESS_END_STOP]);
		ck_assert(rigs[i].loop->should_stop);
	}
	ck_assert_uint_eq(n, 300);
	free_reply();
	close_clients();
	end_serving();
}
END_TEST

/* Lists under way are sent back at the end all the same. */
START_TEST(quitting_sends_back_what_is_under_way)
{
	enum { N = 20 }; /* more than the turns that an end takes */

	begin_serving(_i);
	put_in_force();
	open_clients(600);
	int want = n_replies + N + 1;
	for (int i = 0; i < N; i++)
		post(&conns_of(0, 10000)->base);
	struct message *quit = &message_quit_new(0)->base;
	post(quit);
	TURN_UNTIL(n_replies == want);
	ck_assert_ptr_eq(reply, quit); /* the last one */
	ck_assert_int_eq(ask(&message_quit_new(1)->base), 0);
	free_reply();
	close_clients();
	end_serving();
}
END_TEST

static uint32_t n_living(const struct worker *w)
{
	uint32_t n = 0, cursor = 0;
	const struct session *s;

	while ((s = slab_next(w->sessions, &cursor)) != NULL)
		n += s->state != SESS_DEAD;
	return n;
}

/*
 * What is posted behind QUIT is answered while sessions still live, those that live do their work,
 * and QUIT's own reply comes behind the last one of them.
 */
START_TEST(quitting_takes_turns)
{
	begin_serving(_i);
	put_in_force();
	open_clients(400);
	struct worker *w = rigs[0].w;
	uint32_t n = w->n_sessions;
	ck_assert_uint_gt(n, 50);
	w->walk_turn = 10;
	int want = n_replies + 2;
	struct message *quit = &message_quit_new(0)->base, *behind = message_abort_new(0);
	post(quit);
	post(behind);
	TURN_UNTIL(n_replies > want - 2);
	ck_assert_ptr_eq(reply, behind);
	ck_assert_uint_gt(n_living(w), n - 50);
	ck_assert(worker_is_quitting(w));
	while (n_living(w) > 0) {
		uint32_t before = n_living(w);
		turn_all();
		ck_assert_uint_le(before - n_living(w), 10);
		ck_assert(n_replies == want - 1 || w->n_sessions == 0);
	}
	TURN_UNTIL(n_replies == want);
	ck_assert_ptr_eq(reply, quit);
	const struct message_quit *m = container_of(quit, struct message_quit, base);
	ck_assert_uint_eq(m->n_ended, n);
	ck_assert_uint_eq(m->n_cut, n);
	ck_assert_uint_eq(w->n_sessions, 0);
	ck_assert_int_eq(ask(&message_quit_new(1)->base), 0);
	free_reply();
	close_clients();
	end_serving();
}
END_TEST

/* A connection whose accept completes behind QUIT is closed: its session would live on. */
START_TEST(quitting_takes_nothing_in)
{
	char c;

	begin_serving(_i);
	for (int i = 0; i < N_WORKERS; i++) /* far from their limits, so that they do not poll */
		atomic_store(&rigs[i].w->capacity->n_slots, 1000000);
	put_in_force();
	ck_assert(capacity_is_roomy(rigs[0].w));
	open_clients(4);
	uint64_t n_accepted = 0, n_ends = 0;
	int want = n_replies + N_WORKERS;
	for (int i = 0; i < N_WORKERS; i++)
		post(&message_quit_new((uint32_t)i)->base);
	/* The workers find the message and the connections in the same turn. */
	for (int i = 0; i < 20; i++)
		clients[n_clients++] = dial(listener->addr.port);
	TURN_UNTIL(n_replies == want);
	for (int i = 0; i < N_WORKERS; i++) {
		n_accepted += counter_read(&rigs[i].w->stats->accepted);
		n_ends += worker_n_ended(rigs[i].w->stats);
		ck_assert_uint_eq(rigs[i].w->n_sessions, 0);
	}
	ck_assert_uint_eq(n_accepted, 4);
	ck_assert_uint_eq(n_ends, 4);
	turn_all(); /* what was closed is gone */
	for (int i = 0; i < n_clients; i++)
		ck_assert_int_le(recv(clients[i], &c, 1, 0), 0);
	free_reply();
	close_clients();
	end_serving();
}
END_TEST

START_TEST(freeing_an_empty_one_is_fine)
{
	ck_assert_ptr_null(message_free(NULL));
	ck_assert_ptr_null(message_free(&message_adopt_new(0, 3)->base));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 60); /* two workers a test take seconds under ThreadSanitizer */
	tcase_add_loop_test(t, a_taken_socket_is_parked_until_it_is_applied, 0, n_engines);
	tcase_add_loop_test(t, a_dropped_socket_is_gone, 0, n_engines);
	tcase_add_loop_test(t, dropping_spares_what_is_open, 0, n_engines);
	tcase_add_loop_test(t, a_failed_adopt_has_a_reply, 0, n_engines * (int)ARRAY_SIZE(takes));
	tcase_add_loop_test(t, a_full_table_has_a_reply, 0, n_engines);
	tcase_add_loop_test(t, a_full_table_is_waited_out, 0, n_engines * (int)ARRAY_SIZE(manners));
	tcase_add_loop_test(t, a_removed_listener_keeps_its_sessions, 0, n_engines);
	tcase_add_loop_test(t, a_removed_listener_takes_its_leave, 0, n_engines);
	tcase_add_loop_test(t, many_sockets_are_opened_in_slices, 0, n_engines);
	tcase_add_loop_test(t, applying_again_keeps_the_socket, 0, n_engines);
	tcase_add_loop_test(t, members_are_replaced, 0, n_engines);
	tcase_add_loop_test(t, members_of_a_removed_pool_are_given_up, 0, n_engines);
	tcase_add_loop_test(t, a_removed_pool_is_picked_from_what_it_keeps, 0, n_engines);
	tcase_add_loop_test(t, what_is_replaced_is_freed_on_main, 0, n_engines);
	tcase_add_loop_test(t, connections_are_listed, 0, n_engines);
	tcase_add_loop_test(t, a_list_has_its_limit, 0, n_engines);
	tcase_add_loop_test(t, a_sorted_list_holds_the_first, 0, n_engines);
	tcase_add_loop_test(t, lists_run_beside_each_other, 0, n_engines);
	tcase_add_loop_test(t, a_stopped_worker_keeps_its_sessions, 0, n_engines);
	tcase_add_loop_test(t, quitting_ends_every_session, 0, n_engines);
	tcase_add_loop_test(t, quitting_sends_back_what_is_under_way, 0, n_engines);
	tcase_add_loop_test(t, quitting_takes_turns, 0, n_engines);
	tcase_add_loop_test(t, quitting_takes_nothing_in, 0, n_engines);
	tcase_add_test(t, freeing_an_empty_one_is_fine);
}

int main(void)
{
	return run_on_engines("proxy/message", add_tests);
}
