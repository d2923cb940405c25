/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of the admin interface: two listeners, the Unix socket and the HTTP port, and
 * their clients, on main's loop. What a line means is in command.c, what a request means in http.c.
 *
 *   recv -> in[] -> line -> command_run() -> out -> send
 *                                 \-> pending ... on_conns(), on_reload() -> out -> send
 *
 * A client's input gathers in `in`. proceed() does what can be done next for a client: make an
 * answer from a whole line (serve_lines()) or a whole HTTP head (serve_http()), send the answer
 * that is in `out`, or receive more. The next line is looked at when `out` has been sent, so that
 * answers come in order and a client that does not read holds one answer and one buffer at most.
 *
 * Most commands are answered within command_run(). The answers to `conns` and `reload` may come
 * later: struct pending connects the call of admin_ops with its client. run_line() allocates the
 * struct pending, and on_conns() or on_reload() frees it (end_wait()). When the client was closed
 * before, pending.client is NULL, and the answer is dropped.
 *
 * A client is "idle" when no answer is awaited for it and nothing is to be sent to it. When a
 * client takes the last slot of its listener, the client of that listener that has been idle for
 * the longest time is closed at once (evict_if_full()), so that the next client finds a slot. So
 * idle clients, however many there are, delay no other client by more than the time to accept and
 * close them.
 *
 * A client's life begins with on_accept() and add_client(). When a last answer was sent (linger()),
 * or after an error, close_client() sets is_closing and cancels every operation in flight. reap()
 * frees a client that is closing as soon as no operation of the client is in flight. So each
 * function that the loop calls for a client (for a completion, a timer, an answer) ends with
 * reap(); the functions below them call close_client() only.
 *
 * Thread: main, which owns the loop.
 */
#include "admin/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin/command.h"
#include "admin/http.h"
#include "proto/http1.h"
#include "util/list.h"
#include "util/slab.h"
#include "util/text.h"

#define MAX_CLIENTS 64 /* of one listener; further clients wait in the kernel's queue */
#define IN_MAX COMMAND_LINE_MAX
#define OUT_KEEP (64u << 10) /* bytes that an idle client may keep for its next answer */

/* In milliseconds. All are guesses and were never measured. */
#define HEAD_MS 5000        /* limit from the accept until a whole HTTP head has come */
#define TAKE_MS 30000       /* limit until a client takes the next piece of its answer */
#define LINGER_MS 2000      /* limit from the last answer until the client closes */
#define SEND_AGAIN_MS 5     /* pause before a refused send is repeated */
#define ACCEPT_AGAIN_MS 100 /* pause after a failed accept */
#define EVICT_AGAIN_MS 100  /* pause between searches for an idle client while no slot is free */

/*
 * When a client is added, so many of the newest clients of its listener are not evicted. A listener
 * accepts one client in a turn, and lb receives the first bytes of that client in the next turn. So
 * the newest clients may count as idle only because lb has not received their bytes yet.
 */
#define N_SPARED 2

enum { OP_RECV, OP_SEND, OP_ACCEPT };
enum { LISTENER_SOCKET, LISTENER_HTTP, N_LISTENERS };

/*
 * A listening socket. In the tag of its accept, the handle is the listener's index in
 * admin.listeners.
 */
struct listener {
	int fd;          /* owns; -1: the admin does not serve this listener */
	bool is_armed;   /* an accept is in flight */
	bool has_failed; /* the last accept failed; only the first of several failures is logged */
	uint32_t n_clients; /* clients of this listener in admin.clients */
};

struct client {
	struct list link; /* in admin->clients */
	struct admin *admin;
	struct listener *listener;
	int fd;
	uint8_t in_flight;      /* the set of 1u << OP_RECV and 1u << OP_SEND */
	bool is_eof;            /* the client has half-closed */
	bool is_last;           /* the client gets no answer after this one */
	bool is_shut;           /* the last answer was sent; further input is dropped */
	bool is_closing;        /* reap() frees the client when nothing is in flight */
	size_t n_in;            /* bytes in `in` */
	size_t n_sent;          /* bytes of `out` that were sent */
	uint64_t idle_since_ms; /* when the last answer was sent; before that: the accept */
	struct text out;        /* owns: the answer that is being made or sent */
	struct command_ctx command;
	struct pending *pending; /* borrows: the answer that is awaited, or NULL */
	struct http1_head head;
	struct timer deadline;
	struct timer send_again; /* runs after a refused send, until it is repeated */
	char in[IN_MAX];
};

/*
 * An answer that is awaited. The function of struct admin_ops that was called owns the struct
 * pending until it calls on_conns() or on_reload(), because the client may be freed before that.
 */
struct pending {
	struct client *client; /* borrows; NULL: the client was closed */
	bool is_in_call;       /* command_run() has not returned yet */
};

struct admin {
	struct loop *loop;
	const struct log *log;
	const struct admin_ops *ops;
	void *arg;
	unsigned class_id;
	struct slab *slab;   /* owns: the memory of all struct client */
	struct list clients; /* owns: struct client, in the order of the accepts */
	struct listener listeners[N_LISTENERS];
	struct timer accept_again, evict_again;
	bool is_closing;
};

static void proceed(struct client *c);

/* ---- a client's life ------------------------------------------------------------------------- */

static bool is_http(const struct client *c)
{
	return c->listener == &c->admin->listeners[LISTENER_HTTP];
}

static op_tag client_tag(const struct client *c, unsigned op)
{
	LB_ASSERT(op <= OP_SEND);
	return tag_make(c->admin->class_id, op, slab_handle_of(c->admin->slab, c));
}

static op_tag accept_tag(const struct admin *a, const struct listener *l)
{
	return tag_make(a->class_id, OP_ACCEPT, (uint64_t)(l - a->listeners));
}

static void arm(struct admin *a)
{
	for (struct listener *l = a->listeners; l < a->listeners + N_LISTENERS; l++) {
		if (l->fd < 0 || l->is_armed || a->is_closing || l->n_clients >= MAX_CLIENTS)
			continue;
		l->is_armed = true;
		loop_accept(a->loop, l->fd, ACCEPT_ONE, accept_tag(a, l));
	}
}

/* Whether no answer is awaited for the client, and nothing is to be sent to it. */
static bool is_idle(const struct client *c)
{
	return !c->is_closing && c->pending == NULL && c->out.n == 0;
}

/* Frees a client that is closing as soon as none of its operations is in flight. */
static void reap(struct client *c)
{
	struct admin *a = c->admin;

	if (!c->is_closing || c->in_flight != 0)
		return;
	LB_ASSERT(c->pending == NULL && c->listener->n_clients > 0);
	LB_ASSERT(!timer_is_running(&c->deadline) && !timer_is_running(&c->send_again));
	loop_close(a->loop, c->fd);
	text_deinit(&c->out);
	list_del(&c->link);
	c->listener->n_clients--;
	slab_put(a->slab, c);
	if (!timer_is_running(&a->accept_again))
		arm(a);
}

static void close_client(struct client *c)
{
	if (c->is_closing)
		return;
	c->is_closing = true;
	loop_timer_stop(c->admin->loop, &c->deadline);
	loop_timer_stop(c->admin->loop, &c->send_again);
	if (c->pending != NULL) {
		LB_ASSERT(c->pending->client == c);
		c->pending->client = NULL;
	}
	c->pending = NULL;
	for (unsigned op = OP_RECV; op <= OP_SEND; op++)
		if (c->in_flight & 1u << op)
			loop_cancel(c->admin->loop, c->fd, client_tag(c, op));
}

static void on_deadline(struct timer *t, void *arg)
{
	struct client *c = container_of(t, struct client, deadline);

	(void)arg;
	close_client(c);
	reap(c);
}

/* ---- eviction -------------------------------------------------------------------------------- */

/*
 * Closes the client of `l` that has been idle for the longest time. Does not close any of the
 * `n_spared` newest clients of `l`.
 */
static void evict_idle(struct admin *a, const struct listener *l, uint32_t n_spared)
{
	struct client *longest = NULL;
	uint32_t n = l->n_clients;

	list_for_each(it, &a->clients) /* from the oldest client on */
	{
		struct client *c = list_entry(it, struct client, link);
		if (c->listener != l || n-- <= n_spared || !is_idle(c))
			continue;
		if (longest == NULL || c->idle_since_ms < longest->idle_since_ms)
			longest = c;
	}
	LB_ASSERT(n == 0); /* the list has l->n_clients clients of `l` */
	if (longest == NULL)
		return;
	close_client(longest);
	reap(longest);
}

/*
 * Evicts an idle client of each listener whose slots are all taken. When a listener has no idle
 * client to evict, tries again after EVICT_AGAIN_MS.
 */
static void evict_if_full(struct admin *a, uint32_t n_spared)
{
	bool is_full = false;

	for (struct listener *l = a->listeners; l < a->listeners + N_LISTENERS; l++) {
		if (l->n_clients >= MAX_CLIENTS)
			evict_idle(a, l, n_spared);
		is_full |= l->n_clients >= MAX_CLIENTS;
	}
	if (is_full && !timer_is_running(&a->evict_again))
		loop_timer_start(a->loop, &a->evict_again, EVICT_AGAIN_MS);
}

static void on_evict_again(struct timer *t, void *arg)
{
	(void)arg;
	evict_if_full(container_of(t, struct admin, evict_again), 0);
}

/* ---- reading and sending --------------------------------------------------------------------- */

static void read_more(struct client *c)
{
	if (c->in_flight & 1u << OP_RECV || c->is_eof)
		return;
	LB_ASSERT(!c->is_closing && c->n_in < sizeof(c->in));
	c->in_flight |= 1u << OP_RECV;
	loop_recv(c->admin->loop, c->fd, (uint32_t)(sizeof(c->in) - c->n_in), BUF_SMALL,
		  client_tag(c, OP_RECV));
}

static void send_rest(struct client *c)
{
	struct iovec iov = { .iov_base = c->out.p + c->n_sent, .iov_len = c->out.n - c->n_sent };

	LB_ASSERT(!c->is_closing && !c->is_shut);
	LB_ASSERT(!(c->in_flight & 1u << OP_SEND) && c->n_sent < c->out.n);
	/* The timer, if it runs, is stopped, because it would only start this same send. */
	loop_timer_stop(c->admin->loop, &c->send_again);
	c->in_flight |= 1u << OP_SEND;
	loop_send(c->admin->loop, c->fd, &iov, 1, SEND_WAIT, client_tag(c, OP_SEND));
}

static void send_more(struct client *c)
{
	if (c->in_flight & 1u << OP_SEND)
		return;
	/*
	 * A client that takes nothing of its answer for TAKE_MS is closed, so that another client
	 * gets its slot. For HTTP, the deadline of serve_http() holds for the whole answer.
	 */
	if (!is_http(c))
		loop_timer_start(c->admin->loop, &c->deadline, TAKE_MS);
	send_rest(c);
}

/*
 * Repeats a send that was refused. The deadline is not started anew, because the client has taken
 * nothing since the refused send.
 */
static void on_send_again(struct timer *t, void *arg)
{
	(void)arg;
	send_rest(container_of(t, struct client, send_again));
}

/* ---- lines ----------------------------------------------------------------------------------- */

/*
 * Frees `ctx`, the struct pending of an answer that has come. Returns the client that awaits the
 * answer, or NULL when that client was closed. Sets *ret_is_in_call to whether command_run() has
 * not returned yet.
 */
static struct client *end_wait(void *ctx, bool *ret_is_in_call)
{
	struct pending *p = ctx;
	struct client *c = p->client;

	*ret_is_in_call = p->is_in_call;
	if (c != NULL) {
		LB_ASSERT(c->pending == p && !c->is_closing && c->out.n == 0);
		c->pending = NULL;
	}
	free(p);
	return c;
}

/*
 * Sends an answer that has come. When command_run() has not returned yet, does nothing, because the
 * caller of run_line() will send the answer.
 */
static void send_answer(struct client *c, bool is_in_call)
{
	if (is_in_call)
		return;
	loop_assert_owner(c->admin->loop);
	proceed(c);
	reap(c);
}

static void on_conns(void *ctx, int result, const struct admin_conn_list *list)
{
	bool is_in_call;
	struct client *c = end_wait(ctx, &is_in_call);

	if (c == NULL)
		return;
	command_conns(&c->command, result, list);
	send_answer(c, is_in_call);
}

static void on_reload(void *ctx, int result, const char *why)
{
	bool is_in_call;
	struct client *c = end_wait(ctx, &is_in_call);

	if (c == NULL)
		return;
	command_reload(&c->command, result, why);
	send_answer(c, is_in_call);
}

static void run_line(struct client *c, struct slice line)
{
	struct pending *p = malloc(sizeof(*p));

	LB_ASSERT(c->pending == NULL && c->out.n == 0);
	if (p == NULL) {
		c->out.failed = true;
		return;
	}
	*p = (struct pending){ .client = c, .is_in_call = true };
	c->pending = p;
	c->command.waiter = p;
	if (command_run(&c->command, line) != COMMAND_WAITS) {
		LB_ASSERT(c->pending == p); /* end_wait() was not called for `p` */
		c->pending = NULL;
		free(p);
	} else if (c->pending != NULL) {
		LB_ASSERT(c->pending == p && c->out.n == 0);
		p->is_in_call = false;
	}
}

/* Takes the first line out of the input and runs it. False when the input has no whole line. */
static bool run_next_line(struct client *c)
{
	char line[IN_MAX];
	const char *end = memchr(c->in, '\n', c->n_in);
	size_t n = end != NULL ? (size_t)(end - c->in) : c->n_in;
	size_t used = end != NULL ? n + 1 : n;

	/* When a client has half-closed, its last line may lack the newline. */
	if (end == NULL && !(c->is_eof && c->n_in > 0 && c->n_in < sizeof(c->in)))
		return false;
	LB_ASSERT(n < sizeof(line) && used <= c->n_in);
	memcpy(line, c->in, n);
	c->n_in -= used;
	memmove(c->in, c->in + used, c->n_in);
	run_line(c, (struct slice){ .p = line, .n = n });
	return true;
}

static void serve_lines(struct client *c)
{
	while (c->pending == NULL && c->out.n == 0 && !c->out.failed) {
		if (run_next_line(c))
			continue;
		if (c->n_in < sizeof(c->in))
			break;
		command_error(&c->out, "the line is too long");
		c->is_last = true;
	}
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

static void serve_http(struct client *c)
{
	const uint8_t *in = (const uint8_t *)c->in;
	LB_ASSERT(!c->is_last); /* lb gives an HTTP client one answer only */
	enum http1_verdict v = http1_parse(&c->head, in, c->n_in);

	if (v == HTTP1_MORE && c->n_in < sizeof(c->in))
		return;
	http_answer(c->admin->ops, c->admin->arg, v, &c->head, in, &c->out);
	c->is_last = true;
	loop_timer_start(c->admin->loop, &c->deadline, TAKE_MS);
}

/* ---- completions ----------------------------------------------------------------------------- */

/* Does what can be done next for a client: make an answer, send it, receive more, or close. */
static void proceed(struct client *c)
{
	LB_ASSERT(!c->is_closing && !c->is_shut && c->n_in <= sizeof(c->in));
	if (c->out.n == 0 && is_http(c))
		serve_http(c);
	else if (c->out.n == 0)
		serve_lines(c);

	if (c->out.failed)
		close_client(c);
	else if (c->out.n > 0)
		send_more(c);
	else if (c->pending != NULL)
		return;
	else if (c->is_eof)
		close_client(c);
	else
		read_more(c);
}

/*
 * Called when the last answer was sent. Sends the FIN and drops input until the client closes. lb
 * does not close at once, because a close with unread input would send a reset, which may destroy
 * the answer before the client has read it.
 */
static void linger(struct client *c)
{
	LB_ASSERT(c->is_last && !c->is_shut && c->out.n == 0);
	if (c->is_eof) {
		close_client(c);
		return;
	}
	(void)loop_shutdown(c->admin->loop, c->fd, SHUT_WR);
	c->is_shut = true;
	c->n_in = 0;
	loop_timer_start(c->admin->loop, &c->deadline, LINGER_MS);
	read_more(c);
}

static void on_sent(struct client *c, int res)
{
	LB_ASSERT(!timer_is_running(&c->send_again));
	/* When the socket has no room and the client has sent its FIN, loop_send() does not wait
	 * for room, but ends with -EAGAIN. So the send is tried again after a pause. */
	if (res == -EAGAIN) {
		loop_timer_start(c->admin->loop, &c->send_again, SEND_AGAIN_MS);
		return;
	}
	if (res < 0) {
		close_client(c);
		return;
	}
	LB_ASSERT((size_t)res <= c->out.n - c->n_sent);
	c->n_sent += (size_t)res;
	if (c->n_sent < c->out.n) {
		send_more(c);
		return;
	}
	c->n_sent = 0;
	if (!is_http(c))
		loop_timer_stop(c->admin->loop, &c->deadline);
	c->idle_since_ms = loop_now_ms(c->admin->loop);
	if (c->out.cap > OUT_KEEP)
		text_deinit(&c->out);
	else
		text_clear(&c->out);
	if (c->is_last)
		linger(c);
	else
		proceed(c);
}

static void on_received(struct client *c, const struct completion *e)
{
	if (e->res == -ENOBUFS) {
		read_more(c);
	} else if (e->res < 0) {
		close_client(c);
	} else if (e->res == 0) {
		c->is_eof = true;
		if (c->is_shut)
			close_client(c);
		else if (!c->is_last)
			proceed(c);
	} else if (!c->is_last) {
		LB_ASSERT((size_t)e->res <= sizeof(c->in) - c->n_in);
		memcpy(c->in + c->n_in, e->buf->data, (size_t)e->res);
		c->n_in += (size_t)e->res;
		proceed(c);
	} else if (c->is_shut && !e->more) {
		read_more(c);
	}
}

static void add_client(struct admin *a, struct listener *l, int fd)
{
	struct client *c = slab_reserve(a->slab, 1) == 0 ? slab_get(a->slab) : NULL;

	LB_ASSERT(l->n_clients < MAX_CLIENTS); /* arm() starts no accept without a free slot */
	if (c == NULL) {
		loop_close(a->loop, fd);
		return;
	}
	c->admin = a;
	c->listener = l;
	c->fd = fd;
	c->idle_since_ms = loop_now_ms(a->loop);
	c->command = (struct command_ctx){ .ops = a->ops,
					   .arg = a->arg,
					   .out = &c->out,
					   .on_conns = on_conns,
					   .on_reload = on_reload };
	timer_init(&c->deadline, on_deadline);
	timer_init(&c->send_again, on_send_again);
	list_add_tail(&a->clients, &c->link);
	l->n_clients++;
	if (is_http(c)) {
		http1_init_request(&c->head);
		loop_timer_start(a->loop, &c->deadline, HEAD_MS);
	}
	read_more(c);
	evict_if_full(a, N_SPARED);
}

static void on_accept(struct admin *a, struct listener *l, int res)
{
	LB_ASSERT(l->is_armed && l->fd >= 0);
	l->is_armed = false;
	if (a->is_closing) {
		if (res >= 0)
			loop_close(a->loop, res);
		return;
	}
	if (res >= 0)
		add_client(a, l, res);
	else if (res != -ECONNABORTED && !l->has_failed)
		log_warn(a->log, "admin cannot accept error=\"%s\"", strerror(-res));
	l->has_failed = res < 0 && res != -ECONNABORTED;
	if (l->has_failed)
		loop_timer_start(a->loop, &a->accept_again, ACCEPT_AGAIN_MS);
	else if (!timer_is_running(&a->accept_again))
		arm(a);
}

static void on_accept_again(struct timer *t, void *arg)
{
	(void)arg;
	arm(container_of(t, struct admin, accept_again));
}

static void on_completion(void *arg, const struct completion *e)
{
	struct admin *a = arg;
	unsigned op = tag_kind(e->tag);

	loop_assert_owner(a->loop);
	if (op == OP_ACCEPT) {
		/* With ACCEPT_ONE, an accept has one completion. */
		LB_ASSERT(tag_handle(e->tag) < N_LISTENERS && !e->more);
		on_accept(a, &a->listeners[tag_handle(e->tag)], e->res);
		return;
	}
	struct client *c = slab_find(a->slab, tag_handle(e->tag));
	/*
	 * reap() frees no client with an operation in flight, so that a completion finds its
	 * client.
	 */
	LB_ASSERT(c != NULL && (c->in_flight & 1u << op) != 0);
	if (!e->more)
		c->in_flight &= (uint8_t) ~(1u << op);
	if (!c->is_closing) {
		if (op == OP_SEND)
			on_sent(c, e->res);
		else
			on_received(c, e);
	}
	if (e->buf != NULL)
		buf_put(a->loop->bufs, e->buf);
	reap(c);
}

/* ---- the whole ------------------------------------------------------------------------------- */

struct admin *admin_new(const struct admin_opts *o)
{
	struct admin *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->loop = o->loop;
	a->log = o->log;
	a->ops = o->ops;
	a->arg = o->arg;
	a->class_id = o->class_id;
	a->listeners[LISTENER_SOCKET].fd = a->listeners[LISTENER_HTTP].fd = -1;
	list_init(&a->clients);
	timer_init(&a->accept_again, on_accept_again);
	timer_init(&a->evict_again, on_evict_again);
	a->slab = slab_new("admin_client", sizeof(struct client), N_LISTENERS * MAX_CLIENTS);
	if (a->slab == NULL)
		return admin_free(a);
	loop_set_handler(a->loop, a->class_id, on_completion, a);
	return a;
}

static void serve(struct admin *a, struct listener *l, int fd)
{
	loop_assert_owner(a->loop);
	LB_ASSERT(fd >= 0 && l->fd < 0 && !a->is_closing);
	l->fd = fd;
	arm(a);
}

void admin_serve_socket(struct admin *a, int fd)
{
	serve(a, &a->listeners[LISTENER_SOCKET], fd);
}

void admin_serve_http(struct admin *a, int fd)
{
	serve(a, &a->listeners[LISTENER_HTTP], fd);
}

/*
 * Closes the listening socket, or cancels its accept first. Returns whether the accept is still in
 * flight.
 */
static bool close_listener(struct admin *a, struct listener *l)
{
	if (l->is_armed) {
		loop_cancel(a->loop, l->fd, accept_tag(a, l));
		return true;
	}
	if (l->fd >= 0)
		loop_close(a->loop, l->fd);
	l->fd = -1;
	return false;
}

bool admin_close(struct admin *a)
{
	bool is_busy = false;

	loop_assert_owner(a->loop);
	a->is_closing = true;
	loop_timer_stop(a->loop, &a->accept_again);
	loop_timer_stop(a->loop, &a->evict_again);
	for (struct listener *l = a->listeners; l < a->listeners + N_LISTENERS; l++)
		is_busy = close_listener(a, l) || is_busy;
	list_for_each(it, &a->clients)
	{
		struct client *c = list_entry(it, struct client, link);
		close_client(c);
		reap(c);
	}
	return is_busy || !list_is_empty(&a->clients);
}

struct admin *admin_free(struct admin *a)
{
	if (a == NULL)
		return NULL;
	LB_ASSERT(list_is_empty(&a->clients));
	LB_ASSERT(!timer_is_running(&a->accept_again) && !timer_is_running(&a->evict_again));
	for (const struct listener *l = a->listeners; l < a->listeners + N_LISTENERS; l++)
		LB_ASSERT(l->n_clients == 0 && !l->is_armed && l->fd < 0);
	slab_free(a->slab);
	free(a);
	return NULL;
}
