/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The invariants: between any two turns, of workers without sessions, and of each conversation that
 * is over.
 */
#include <errno.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/pipe.h"
#include "proxy/exchange.h"
#include "proxy/listener.h"
#include "proxy/session.h"
#include "scenario.h"
#include "util/slab.h"

#define BULK_BYTES (512u << 10)   /* what a flow in bulk may hold */
#define BUFFER_BYTES (256u << 10) /* the largest relay.buffer of the configurations here */
#define HEAD_BYTES 20000u         /* the heads that lb makes or passes on come on top */
#define HEAD_BUFS 2u              /* ... and so do their buffers */

/* ---- between turns --------------------------------------------------------------------------- */

static size_t queue_caps(const struct queue *q)
{
	size_t bytes = 0, caps = 0, n = 0, n_loose = 0;

	for (const struct buf *b = queue_head(q); b != NULL; b = queue_next(q, b)) {
		bytes += b->len;
		caps += b->cap;
		n_loose += b->off + b->len < b->cap;
		n++;
	}
	SIM_CHECK(bytes == q->bytes && n == q->n_bufs, "a queue's figures are wrong");
	SIM_CHECK(n_loose <= QUEUE_MAX_LOOSE + HEAD_BUFS,
		  "a queue of %zu bytes has %zu buffers that are not full", bytes, n_loose);
	return caps;
}

static void check_flow(const struct session *s, const struct flow *f)
{
	bool has_large = false; /* received while the flow was in bulk, which it may have left */
	for (const struct buf *b = queue_head(&f->queue); b != NULL; b = queue_next(&f->queue, b))
		has_large = has_large || b->cap == BUF_LARGE_BYTES;
	/* While bytes are queued a reload may lower the pool's limit. */
	uint32_t limit = f->is_bulk || has_large ? BULK_BYTES : BUFFER_BYTES;

	SIM_CHECK(f->queue.bytes + flow_bytes_in_pipe(f) <= limit + HEAD_BYTES,
		  "session %llu: %u bytes are queued and %u in its pipe", (unsigned long long)s->id,
		  f->queue.bytes, flow_bytes_in_pipe(f));
}

/* Whether a direction of a tunnel is over. All pools here have a half_closed time-out. */
static bool is_half_closed(const struct session *s)
{
	bool is_over = false;

	for (enum side side = CLIENT; side < N_SIDES; side++)
		is_over = is_over || s->conn[side]->rx >= RX_EOF || s->conn[side]->tx == TX_CLOSED;
	return s->state == SESS_TUNNEL && is_over;
}

/* How many bytes the buffers that a session holds have. */
static size_t held_by(const struct session *s)
{
	size_t caps = 0;

	for (enum side from = CLIENT; from < N_SIDES; from++) {
		check_flow(s, &s->conn[from]->in);
		caps += queue_caps(&s->conn[from]->in.queue);
		if (s->x != NULL && s->x->head[from] != NULL)
			caps += s->x->head[from]->cap;
	}
	if (s->x != NULL)
		caps += queue_caps(&s->x->held);
	return caps;
}

/* How many places at each backend the sessions hold. */
struct places {
	size_t n;
	struct {
		const struct backend *backend;
		uint32_t n;
	} at[64];
};

static void count_place(struct places *p, const struct backend *b)
{
	size_t i = 0;

	while (i < p->n && p->at[i].backend != b)
		i++;
	if (i == p->n) {
		LB_ASSERT(p->n < ARRAY_SIZE(p->at));
		p->at[p->n++].backend = b;
	}
	p->at[i].n++;
}

static uint64_t slots_of(const struct worker *w)
{
	return w->capacity->n_used == CAPACITY_CLOSED ? 0 : w->capacity->n_used;
}

static bool is_waiting(const struct session *s)
{
	return s->x != NULL && list_is_linked(&s->x->link);
}

/* The state of a session and that of its request fit, and so do the lists that they are on. */
static void check_states(const struct session *s)
{
	unsigned long long id = s->id;

	SIM_CHECK(s->state != SESS_PREAMBLE, "session %llu stays in a state that is left at once",
		  id);
	SIM_CHECK((s->state == SESS_TUNNEL) <= (s->x == NULL), "session %llu: a tunnel's exchange",
		  id);
	SIM_CHECK(s->state >= SESS_TUNNEL || s->x != NULL, "session %llu has no exchange", id);
	if (s->x == NULL)
		return;
	SIM_CHECK(s->state != SESS_IDLE || s->x->state == EXCHANGE_HEAD,
		  "session %llu is idle with a request in state %s", id, exchange_state_word(s->x));
	SIM_CHECK((s->state > SESS_BUSY) == (s->x->state == EXCHANGE_DONE) &&
			  (s->x->state == EXCHANGE_DONE) <= (s->x->outcome != OUTCOME_NONE),
		  "session %llu is %s, its request %s with outcome %s", id, session_state_word(s),
		  exchange_state_word(s->x), outcome_word(s->x->outcome));
	SIM_CHECK(is_waiting(s) == (s->x->state == EXCHANGE_WAIT),
		  "session %llu: its request is %s, in the queue: %d", id,
		  exchange_state_word(s->x), is_waiting(s));
}

static void check_worker(const struct worker *w, struct places *places)
{
	struct loop *l = w->loop;
	uint64_t n = 0, n_handshaking = 0;
	size_t caps = 0;
	uint32_t cursor = 0;
	const struct session *s;

	while ((s = slab_next(w->sessions, &cursor)) != NULL) {
		n++;
		n_handshaking += s->x != NULL && s->x->state < EXCHANGE_BODY;
		caps += held_by(s);
		if (s->has_slot)
			count_place(places, s->backend);
		SIM_CHECK(s->state != SESS_DEAD || session_is_in_flight(s) ||
				  list_is_linked(&s->link),
			  "session %llu is dead and not on the list of those to free",
			  (unsigned long long)s->id);
		check_states(s);
		SIM_CHECK(!is_half_closed(s) || timer_is_running(&s->timer),
			  "session %llu is half closed and may last for ever",
			  (unsigned long long)s->id);
		SIM_CHECK(session_is_in_flight(s) || timer_is_running(&s->timer) ||
				  list_is_linked(&s->link) || is_waiting(s),
			  "session %llu waits for nothing, in state %s", (unsigned long long)s->id,
			  session_phase_word(s));
	}
	SIM_CHECK(n == w->n_sessions && n + w->capacity->n_pending == slots_of(w) &&
			  n == slab_n_used(w->sessions),
		  "worker %u: %llu sessions, counted %u, handed off %u, slots %llu", w->id,
		  (unsigned long long)n, w->n_sessions, w->capacity->n_pending,
		  (unsigned long long)slots_of(w));
	SIM_CHECK(n == counter_read(&w->stats->active) &&
			  n_handshaking == counter_read(&w->stats->handshaking),
		  "worker %u: the gauges are wrong", w->id);
	SIM_CHECK(caps == buf_bytes_used(l->bufs), "worker %u: %zu bytes of buffers lent, %zu held",
		  w->id, buf_bytes_used(l->bufs), caps);
}

static void check_backend(const struct places *places, const struct backend *b)
{
	uint32_t n = 0;

	for (size_t i = 0; i < places->n; i++)
		if (places->at[i].backend == b)
			n = places->at[i].n;
	SIM_CHECK(n == backend_active(b), "backend %s has %u connections, counts %u", b->name, n,
		  backend_active(b));
}

void check_turn(void *scenario)
{
	const struct scenario *t = scenario;
	struct places places = { 0 };
	uint64_t n = 0, n_pending = 0;

	for (uint32_t i = 0; i < t->n_workers; i++) {
		const struct worker *w = t->thread[i].worker;
		check_worker(w, &places);
		n += slots_of(w);
		n_pending += w->capacity->n_pending;
		SIM_CHECK(slots_of(w) <= w->capacity->n_slots,
			  "worker %u has more than it can hold", i);
	}
	SIM_CHECK(n == t->threads.proxy.n_conns, "the slots do not add up");
	SIM_CHECK(n_pending == t->threads.proxy.n_handoffs, "the hand-offs do not add up");
	list_for_each(it, &t->control.registry.pools)
	{
		const struct registry_pool *p = list_entry(it, struct registry_pool, link);
		list_for_each(ib, &p->backends) check_backend(
			&places, list_entry(ib, struct registry_backend, link)->backend);
	}
}

/* ---- at rest --------------------------------------------------------------------------------- */

void check_idle(struct scenario *t)
{
	for (uint32_t i = 0; i < t->n_workers; i++) {
		const struct worker *w = t->thread[i].worker;

		SIM_CHECK(buf_bytes_used(w->loop->bufs) == 0, "worker %u: buffers are left", i);
		SIM_CHECK(slab_n_used(w->exchanges) == 0, "worker %u: exchanges are left", i);
		SIM_CHECK(list_is_empty(&w->waiting) && list_is_empty(&w->dead),
			  "worker %u: its lists are not empty", i);
	}
	SIM_CHECK(t->threads.proxy.n_conns == 0, "slots are left");
	SIM_CHECK(t->threads.proxy.n_handoffs == 0, "hand-offs are under way");
}

/* ---- a conversation is over ------------------------------------------------------------------ */

void check_record(struct scenario *t, const struct access_record *r)
{
	if (r->client.port == 0) { /* it was reset before lb had asked for its address */
		SIM_CHECK(r->end == SESS_END_CLIENT_RESET,
			  "a connection without an address ends as %s", sess_end_word(r->end));
		t->n_records++;
		return;
	}
	struct conversation *k = conversation_of_port(t, r->client.port);

	SIM_CHECK(k != NULL, "the end of a connection that no client has made");
	SIM_CHECK(k->n_ends++ == 0, "conversation %u ends twice", k->id);
	SIM_CHECK(r->end != SESS_END_NONE, "conversation %u ends without a reason", k->id);
	k->is_quit = admin_actor_is_quitting(t);
	k->end = r->end;
	k->end_status = r->status;
	k->bytes_in = r->bytes_in;
	k->bytes_out = r->bytes_out;
	t->n_records++;
	sim_say(t->w, "access  conversation %u ends: %s, status %u, in %llu, out %llu", k->id,
		sess_end_word(r->end), r->status, (unsigned long long)r->bytes_in,
		(unsigned long long)r->bytes_out);
}

/* Whether lb has ended the conversation by itself, so that bytes on their way may be lost. */
static bool is_cut_by_lb(const struct conversation *k)
{
	static const enum sess_end ends[] = {
		SESS_END_IDLE,
		SESS_END_HALF_CLOSED,
		SESS_END_STOP,
		SESS_END_CLIENT_STALLED,
		SESS_END_CLIENT_VANISHED,
		SESS_END_BACKEND_STALLED,
		SESS_END_BACKEND_VANISHED,
	};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (k->end == ends[i])
			return true;
	return k->is_quit; /* it was over, and lb was still delivering its last bytes */
}

/* Whether the side's kernel has sent a reset, or would answer bytes that come now with one. */
static bool may_reset(const struct peer *p)
{
	return p->fate.has_reset || p->has_left;
}

/* One direction of a tunnel, from `src` to `dst`. */
static void check_direction(const struct conversation *k, const struct peer *src,
			    const struct peer *dst)
{
	uint64_t n_came = src->fate.n_delivered; /* bytes that have reached lb's kernel */
	uint64_t n_want = n_came > src->n_before ? n_came - src->n_before : 0;

	if (!dst->has_eof || src->was_cut || dst->was_cut || is_cut_by_lb(k))
		return;
	if (dst->error == 0) {
		/* `dst` got a FIN: then the source has sent one, and every byte before it is here.
		 */
		SIM_CHECK(src->fate.is_fin_delivered,
			  "conversation %u: the %s got an end that the %s did not send", k->id,
			  dst->name, src->name);
		n_want = src->n_sent;
	} else {
		SIM_CHECK(may_reset(src) || dst->fate.has_reset,
			  "conversation %u: a reset of lb's own", k->id);
	}
	/* Last words arrive all the same, if they are taken within lb's patience (proxy/closing.c).
	 */
	bool is_slow = dst->pause_ms > 1000 || dst->max_read < 100;
	if (!dst->fate.has_reset && !(is_slow && dst->error != 0))
		SIM_CHECK(dst->n_got == n_want, "conversation %u: of %llu bytes the %s got %llu",
			  k->id, (unsigned long long)n_want, dst->name,
			  (unsigned long long)dst->n_got);
}

static bool has_stood(const struct conversation *k)
{
	return k->kind == CONV_TCP ? k->is_met : k->end_status == 101 && k->status == 101;
}

static void check_tunnel(const struct conversation *k)
{
	check_direction(k, &k->client, &k->server);
	check_direction(k, &k->server, &k->client);
}

/* Checks that a plain response that the backend has sent whole is whole at the client. */
static void check_plain(const struct conversation *k)
{
	const struct peer *c = &k->client, *b = &k->server;

	if (!k->is_known || k->status != 200 || !c->has_eof || c->error != 0 || is_cut_by_lb(k))
		return;
	if (b->has_sent_all && !b->fate.has_reset && b->fate.is_fin_delivered)
		SIM_CHECK(c->n_got == b->n_sent,
			  "conversation %u: of %llu bytes of the body came %llu", k->id,
			  (unsigned long long)b->n_sent, (unsigned long long)c->n_got);
}

/* Whether a side may be silent for longer than lb's shortest time-outs. */
static bool may_be_quiet(const struct peer *p)
{
	return p->pause_ms > 500 || p->was_cut || p->leaving != LEAVE_DONE ||
	       p->reads_most != UINT64_MAX;
}

/* Checks that the reason of the end fits what has happened. */
static void check_reason(const struct conversation *k)
{
	const struct peer *c = &k->client, *b = &k->server;
	const char *word = sess_end_word(k->end);
	bool is_right = true;

	switch (k->end) {
	case SESS_END_CLIENT_CLOSED: is_right = c->is_shut || c->has_left; break;
	case SESS_END_CLIENT_RESET: is_right = may_reset(c); break;
	case SESS_END_BACKEND_CLOSED: is_right = k->is_met && (b->is_shut || b->has_left); break;
	case SESS_END_BACKEND_RESET: is_right = k->is_met && may_reset(b); break;
	case SESS_END_CLIENT_VANISHED:
	case SESS_END_CLIENT_STALLED: is_right = c->was_cut || !c->has_eof; break;
	case SESS_END_BACKEND_VANISHED:
	case SESS_END_BACKEND_STALLED: is_right = b->was_cut || !b->has_eof; break;
	case SESS_END_COMPLETED:
		is_right = k->kind == CONV_PLAIN || k->behaviour == BEHAVE_REFUSE;
		break;
	case SESS_END_BAD_REQUEST: is_right = k->kind == CONV_BAD; break;
	case SESS_END_BAD_ACCEPT: is_right = k->behaviour == BEHAVE_BAD_ACCEPT; break;
	case SESS_END_BAD_RESPONSE: is_right = k->is_met; break;
	case SESS_END_STOP: is_right = admin_actor_has_stopped(k->t); break;
	case SESS_END_BAD_PROXY:
	case SESS_END_TLS_FAILED:
	case SESS_END_HANDSHAKE_SHED:
	case SESS_END_NO_ROUTE:
	case SESS_END_NO_PORT:
	case SESS_END_ADMIN:
	case SESS_END_NONE: is_right = false; break;
	case SESS_END_IDLE:
	case SESS_END_HALF_CLOSED: is_right = may_be_quiet(c) || may_be_quiet(b); break;
	case SESS_END_RESPONSE_TIMEOUT:
		is_right = may_be_quiet(c) || may_be_quiet(b) || k->behaviour == BEHAVE_LATE ||
			   k->behaviour == BEHAVE_NEVER;
		break;
	case SESS_END_HANDSHAKE_TIMEOUT:
	case SESS_END_NO_BACKEND:
	case SESS_END_CONNECT_FAILED:
	case SESS_END_CONNECT_TIMEOUT:
	case SESS_N_ENDS: break;
	}
	SIM_CHECK(is_right, "conversation %u ends as %s, for no reason to be seen", k->id, word);
	/* The status that lb has answered is the status in its access log. */
	bool is_fit = k->status == outcome_status(outcome_of_end(k->end)) ||
		      k->end == SESS_END_BAD_REQUEST ||
		      (k->end == SESS_END_IDLE && k->status == 408);
	if (k->is_answered && !k->is_known)
		SIM_CHECK(k->status == k->end_status && is_fit,
			  "conversation %u was answered %d, noted are %s and %u", k->id, k->status,
			  word, k->end_status);
}

static void check_conversation(const struct conversation *k)
{
	if (k->n_ends == 0)
		return; /* lb has not accepted it */
	if (k->t->is_faulty)
		return; /* without memory it may end in any way */
	if (has_stood(k))
		check_tunnel(k);
	else if (k->kind == CONV_PLAIN)
		check_plain(k);
	check_reason(k);
}

void check_conversations(struct scenario *t)
{
	uint64_t n_accepted = 0, n_ends = 0;

	for (size_t i = 0; i < t->n_conversations; i++)
		check_conversation(&t->conversation[i]);
	for (uint32_t i = 0; i < t->n_workers; i++) {
		const struct worker_stats *st = t->thread[i].worker->stats;
		n_accepted += counter_read(&st->accepted);
		for (int e = 0; e < SESS_N_ENDS; e++)
			n_ends += counter_read(&st->ends[e]);
		SIM_CHECK(counter_read(&st->active) == 0, "worker %u: sessions are left", i);
	}
	SIM_CHECK(n_accepted == n_ends && n_ends == t->n_records,
		  "%llu connections, %llu ends counted, %llu noted", (unsigned long long)n_accepted,
		  (unsigned long long)n_ends, (unsigned long long)t->n_records);
}
