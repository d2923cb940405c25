/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders on the worker's side. All but CONNS are done within one turn; CONNS, and the timers of old
 * sessions after an APPLY, walk the sessions in slices, so that a worker with a million of them
 * keeps serving meanwhile.
 *
 * Thread: order_new() and order_free() on main, the rest on the worker.
 */
#include "proxy/order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "proxy/listener.h"
#include "proxy/plan.h"
#include "proxy/relay.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "util/slab.h"

/* Sessions looked at per turn: some tens of microseconds. */
#define WALK_SLICE 512

/* ... and the pause between two: with more workers than CPUs, others have their turns then. */
#define WALK_PAUSE_MS 1

/* Listening sockets that are opened, moved to another plan or closed per turn. */
#define SOCKET_SLICE 64

struct order *order_new(enum order_kind kind, uint32_t worker)
{
	struct order *o = calloc(1, sizeof(*o));

	if (o != NULL) {
		o->mail.run = order_run;
		o->kind = kind;
		o->worker = worker;
	}
	return o;
}

struct order *order_free(struct order *o)
{
	if (o == NULL)
		return NULL;
	for (size_t i = 0; i < o->n_listeners; i++)
		listener_unref(o->listeners[i]);
	for (size_t i = 0; i < o->n_members; i++)
		members_unref(o->members[i]);
	for (uint32_t i = 0; o->slots != NULL && i < o->n_slots; i++)
		members_unref(o->slots[i]);
	for (size_t i = 0; i < o->n_rows; i++)
		backend_unref(o->rows[i].backend);
	plan_unref(o->plan);
	free(o->listeners);
	free(o->members);
	free(o->slots);
	free(o->rows);
	free(o);
	return NULL;
}

int order_make_slots(struct order *o)
{
	for (size_t i = 0; i < o->n_members; i++)
		if (o->n_slots <= o->members[i]->pool->slot)
			o->n_slots = o->members[i]->pool->slot + 1;
	o->slots = calloc(o->n_slots + 1, sizeof(struct members *));
	if (o->slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < o->n_members; i++)
		o->slots[o->members[i]->pool->slot] = members_ref(o->members[i]);
	return 0;
}

static void run_done(struct mail *m, void *main_arg)
{
	struct order *o = (struct order *)m;

	o->done(o, main_arg);
}

void order_answer(struct worker *w, struct order *o)
{
	o->mail.run = run_done;
	mailbox_post(w->main, &o->mail);
}

/* ---- sockets --------------------------------------------------------------------------------- */

/* The sockets were put into the channel before the order was posted. */
static int take_sockets(struct worker *w, const struct order *o)
{
	int result = 0;

	for (size_t i = 0; i < o->n_listeners; i++) {
		uint64_t number;
		int fd = loop_take_fd(w->loop, w->channel, &number);

		if (fd == -EMFILE) { /* the kernel dropped it: the table is full */
			result = fd;
			continue;
		}
		if (fd < 0)
			return fd;
		if (number != o->listeners[i]->number) {
			loop_close(w->loop, fd);
			return -EPROTO;
		}
		if (listen_socket_new(w, o->listeners[i], fd) == NULL)
			result = -ENOMEM;
	}
	return result;
}

static void drop_parked(struct worker *w)
{
	list_for_each(it, &w->listen)
	{
		struct listen_socket *ls = list_entry(it, struct listen_socket, link);
		if (ls->state == LISTEN_PARKED)
			listen_socket_close(ls);
	}
}

/* ---- a new configuration --------------------------------------------------------------------- */

/* The order takes back what it brings the replacement of: main frees that. */
static void swap_members(struct worker *w, struct order *o)
{
	struct members **old = w->members;
	uint32_t n_old = w->n_members;

	w->members = o->slots;
	w->n_members = o->n_slots;
	o->slots = old;
	o->n_slots = n_old;
}

static void replace_members(struct worker *w, struct order *o)
{
	struct members *m = o->members[0];
	uint32_t slot = m->pool->slot;

	/* Main has named the pool in an APPLY before, and in none since that left it out. */
	LB_ASSERT(slot < w->n_members && w->members[slot]->pool == m->pool);
	o->members[0] = w->members[slot];
	w->members[slot] = m;
}

static void swap_plan(struct worker *w, struct order *o)
{
	struct plan *old = w->plan;

	w->plan = o->plan;
	o->plan = old;
}

/* Makes one listening socket follow the newest plan. */
static void apply_socket(struct worker *w, struct listen_socket *ls)
{
	uint32_t i = ls->listener->plan_index;

	if (i == LISTENER_REMOVED)
		listen_socket_close(ls);
	else
		listen_socket_open(ls, w->plan, &w->plan->listeners[i]);
}

static bool is_behind(const struct worker *w, const struct listen_socket *ls)
{
	if (ls->state == LISTEN_OPEN)
		return ls->plan != w->plan || ls->listener->plan_index == LISTENER_REMOVED;
	return ls->state == LISTEN_PARKED;
}

/*
 * Makes the next sockets follow the newest plan, as many as one turn has time for. The others go on
 * under the plan that they have. What a stop has closed meanwhile is left alone.
 */
static void apply_sockets(struct worker *w)
{
	int n = 0;

	w->is_applying = false;
	list_for_each(it, &w->listen)
	{
		struct listen_socket *ls = list_entry(it, struct listen_socket, link);
		if (!is_behind(w, ls))
			continue;
		if (n++ == SOCKET_SLICE) {
			w->is_applying = true;
			return;
		}
		apply_socket(w, ls);
	}
	worker_resume(w);
}

/* Main has seen to it that nothing in here can be refused. */
static void apply(struct worker *w, struct order *o)
{
	LB_ASSERT(!w->is_stopping);
	swap_members(w, o);
	swap_plan(w, o);
	apply_sockets(w);
}

/* ---- walks ----------------------------------------------------------------------------------- */

static bool is_wanted(const struct conn_filter *f, const struct session *s, uint64_t age_ns)
{
	if (age_ns < f->min_age_ns)
		return false;
	if (f->pool[0] != '\0' && (s->pool == NULL || strcmp(pool_name(s->pool), f->pool) != 0))
		return false;
	if (f->backend[0] != '\0' &&
	    (s->backend == NULL || strcmp(s->backend->name, f->backend) != 0))
		return false;
	return !f->has_client || cidr_contains(&f->client, &s->client);
}

/* What the list is sorted by; greater comes first. */
static uint64_t rank_of(const struct conn_filter *f, const struct session *s)
{
	switch (f->sort) {
	case CONN_UNSORTED: return 0;
	case CONN_BY_AGE: return UINT64_MAX - s->start_ns;
	case CONN_BY_BYTES: return s->flow[CLIENT].n_sent + s->flow[BACKEND].n_sent;
	}
	return 0;
}

static void swap_rows(struct conn_row *a, struct conn_row *b)
{
	struct conn_row t = *a;

	*a = *b;
	*b = t;
}

/* Puts the last row in its place: no row of the heap has a smaller rank than the one above it. */
static void heap_up(struct conn_row *rows, size_t n)
{
	for (size_t i = n - 1; i > 0 && rows[i].rank < rows[(i - 1) / 2].rank; i = (i - 1) / 2)
		swap_rows(&rows[i], &rows[(i - 1) / 2]);
}

/* The same for the root, after it was replaced. */
static void heap_down(struct conn_row *rows, size_t n)
{
	for (size_t i = 0, least; (least = 2 * i + 1) < n; i = least) {
		if (least + 1 < n && rows[least + 1].rank < rows[least].rank)
			least++;
		if (rows[i].rank <= rows[least].rank)
			return;
		swap_rows(&rows[i], &rows[least]);
	}
}

static int make_row(struct order *o)
{
	if (o->n_rows == o->rows_cap) {
		size_t cap = o->rows_cap ? 2 * o->rows_cap : 64;
		struct conn_row *grown = reallocarray(o->rows, cap, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		o->rows = grown;
		o->rows_cap = cap;
	}
	o->n_rows++;
	return 0;
}

static void fill_row(struct conn_row *row, const struct session *s, uint64_t age_ns, uint64_t rank)
{
	*row = (struct conn_row){
		.id = s->id,
		.client = s->client,
		.listener = atomic_load_explicit(&s->from->listener->name, memory_order_acquire),
		.backend = s->backend != NULL ? backend_ref(s->backend) : NULL,
		.state = session_state_name(s),
		.age_ns = age_ns,
		.bytes_in = s->flow[CLIENT].n_sent,
		.bytes_out = s->flow[BACKEND].n_sent,
		.rank = rank,
	};
	if (s->pool != NULL)
		(void)strncpy(row->pool, pool_name(s->pool), sizeof(row->pool) - 1);
}

/* Lists a session, if the list has room for it or it ranks above one that is listed. */
static int add_row(struct order *o, const struct session *s, uint64_t age_ns)
{
	uint64_t rank = rank_of(&o->filter, s);

	o->n_matching++;
	if (o->n_rows < o->filter.limit) {
		int r = make_row(o);
		if (r < 0)
			return r;
		fill_row(&o->rows[o->n_rows - 1], s, age_ns, rank);
		if (o->filter.sort != CONN_UNSORTED)
			heap_up(o->rows, o->n_rows);
	} else if (rank > o->rows[0].rank) { /* never where unsorted */
		backend_unref(o->rows[0].backend);
		fill_row(&o->rows[0], s, age_ns, rank);
		heap_down(o->rows, o->n_rows);
	}
	return 0;
}

/* Lets the walk begin in the worker's next turn, at once. */
static void wake_walk(struct worker *w)
{
	loop_timer_start(w->loop, &w->walk_timer, 0);
}

/* An APPLY that changes nothing for them spares the sessions. */
static struct session *next_on_walk(struct worker *w, const struct order *o)
{
	if (o->kind == ORDER_APPLY && !o->has_new_timeouts)
		return NULL;
	return slab_next(w->sessions, &w->walk_cursor);
}

/* How long until a removed listening socket may be closed; 0: none is open, or one in this turn. */
static uint64_t closing_wait_ms(const struct worker *w, bool *ret_is_any)
{
	uint64_t wait_ms = 0;

	*ret_is_any = false;
	list_for_each(it, &w->listen)
	{
		const struct listen_socket *ls = list_entry(it, struct listen_socket, link);
		if (ls->state == LISTEN_LEAVING)
			wait_ms = WALK_PAUSE_MS;
		*ret_is_any = *ret_is_any || ls->state == LISTEN_LEAVING ||
			      (ls->state == LISTEN_CLOSING && ls->is_armed);
	}
	return wait_ms;
}

/*
 * Whether a new configuration is in force to the last: the addresses it gave up are free for the
 * next one. A descriptor is gone a turn after it was closed. If not, the walk goes on later.
 */
static bool is_in_force(struct worker *w, struct order *o)
{
	bool was_settled = o->is_settled, is_any;

	if (o->kind != ORDER_APPLY || was_settled)
		return true;
	uint64_t wait_ms = closing_wait_ms(w, &is_any);
	o->is_settled = !is_any;
	loop_timer_start(w->loop, &w->walk_timer, wait_ms);
	return false;
}

void order_walk(struct worker *w)
{
	struct order *o = w->walk;

	if (w->is_applying) { /* before anybody's walk */
		apply_sockets(w);
		wake_walk(w);
		return;
	}
	uint64_t now_ns = loop_now_ns(w->loop);

	for (int i = 0; i < WALK_SLICE; i++) {
		struct session *s = next_on_walk(w, o);
		if (s == NULL && !is_in_force(w, o))
			return;
		if (s == NULL) {
			w->walk = o->next_walk;
			w->walk_cursor = 0;
			order_answer(w, o);
			if (w->walk != NULL)
				wake_walk(w);
			return;
		}
		if (s->state == SESS_DEAD)
			continue;
		if (o->kind == ORDER_APPLY) {
			/* Its pool's time-outs may have changed. */
			if (s->state == SESS_RELAY)
				relay_watch_time(s);
			continue;
		}
		uint64_t age_ns = now_ns - s->start_ns;
		if (is_wanted(&o->filter, s, age_ns) && add_row(o, s, age_ns) < 0)
			o->result = -ENOMEM;
	}
	loop_timer_start(w->loop, &w->walk_timer, WALK_PAUSE_MS);
}

void order_end_walks(struct worker *w)
{
	while (w->walk != NULL) {
		struct order *o = w->walk;
		w->walk = o->next_walk;
		order_answer(w, o);
	}
	loop_timer_stop(w->loop, &w->walk_timer);
}

/* One walk at a time; the others wait in order. */
static void begin_walk(struct worker *w, struct order *o)
{
	struct order **end = &w->walk;

	while (*end != NULL)
		end = &(*end)->next_walk;
	*end = o;
	if (w->walk == o)
		w->walk_cursor = 0;
	if (w->walk == o || w->is_applying)
		wake_walk(w);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void stop_accepting(struct worker *w)
{
	w->is_stopping = true;
	list_for_each(it, &w->listen)
		listen_socket_close(list_entry(it, struct listen_socket, link));
}

static void quit(struct worker *w, struct order *o)
{
	uint32_t cursor = 0;
	struct session *s;

	w->quit = o; /* answered at the end of a turn, when all are buried */
	stop_accepting(w);
	while ((s = slab_next(w->sessions, &cursor)) != NULL)
		session_kill(s, SESS_END_STOP);
}

void order_run(struct mail *m, void *arg)
{
	struct worker *w = arg;
	struct order *o = (struct order *)m;

	switch (o->kind) {
	case ORDER_TAKE: o->result = take_sockets(w, o); break;
	case ORDER_DROP: drop_parked(w); break;
	case ORDER_APPLY:
		apply(w, o);
		begin_walk(w, o);
		return;
	case ORDER_MEMBERS: replace_members(w, o); break;
	case ORDER_CONNS: begin_walk(w, o); return;
	case ORDER_STOP: stop_accepting(w); break;
	case ORDER_QUIT: quit(w, o); return;
	}
	order_answer(w, o);
}
