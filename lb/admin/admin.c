/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two doors (the socket's and HTTP's listening sockets) and their clients, on main's loop.
 *
 * A client's input gathers in a small buffer; a whole line (or an HTTP head) is answered into a
 * text, which is sent piece by piece. The next line is looked at when that text is out: so answers
 * come in order, and a client that does not read holds one answer and one buffer at most.
 *
 * When a client takes a door's last place, the client of that door that has been idle longest is
 * closed at once, so that the next one finds a place. Idle clients, however many, therefore delay
 * nobody: each costs its accept and its close.
 *
 *   recv -> in[] -> line -> command_run() -> out -> send
 *                                 \-> pending ... on_conns(), on_reload() -> out -> send
 *
 * Thread: main.
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

#define MAX_CLIENTS 64 /* of a door; the others wait in the kernel's queue */
#define IN_MAX COMMAND_LINE_MAX
#define OUT_KEEP (64u << 10) /* an idle client keeps no more memory than this for answers */

/* Guesses, never tuned. */
#define HEAD_MS 5000        /* for a whole HTTP head */
#define TAKE_MS 30000       /* for a client to take its answer */
#define LINGER_MS 2000      /* after a last answer, for a client to close */
#define SEND_AGAIN_MS 5     /* after a send that was refused */
#define ACCEPT_AGAIN_MS 100 /* after an accept that failed */
#define CROWDED_MS 100      /* between two looks for an idle client, while all places are taken */

/* A door accepts one client a turn, and a line that was sent before is read in the next turn: the
 * lines of all clients but these were looked at. */
#define UNHEARD 2

enum { OP_RECV, OP_SEND, OP_ACCEPT };
enum { DOOR_SOCKET, DOOR_HTTP, N_DOORS };

/* A listening socket. The handle in its tag is its number. */
struct door {
	int fd;
	bool is_armed;
	bool has_failed; /* the last accept has: said once */
	uint32_t n_clients;
};

struct client {
	struct list link; /* admin->clients */
	struct admin *admin;
	struct door *door;
	int fd;
	uint8_t in_flight; /* 1u << OP_RECV, 1u << OP_SEND */
	bool is_eof;       /* it has half-closed */
	bool is_last;      /* the answer in `out` is the last one */
	bool is_shut;      /* that one is out: what still comes is dropped */
	bool is_closing;   /* freed when nothing is in flight */
	size_t n_in, n_sent;
	uint64_t idle_since_ms; /* it came, or had its last answer; while it is idle */
	struct text out;
	struct command_ctx command;
	struct pending *pending; /* borrows: the answer that is awaited, or NULL */
	struct http1_head head;
	struct timer deadline, send_again;
	char in[IN_MAX];
};

/*
 * Who awaits an answer. Owned by the call of struct admin_ops that makes the answer, until it
 * comes: so a client may go before, and the whole admin may.
 */
struct pending {
	struct client *client; /* NULL: it has gone */
	bool is_in_call;       /* the call has not returned yet */
};

struct admin {
	struct loop *loop;
	const struct log *log;
	const struct admin_ops *ops;
	void *arg;
	unsigned class_id;
	struct slab *slab;   /* owns */
	struct list clients; /* owns */
	struct door door[N_DOORS];
	struct timer accept_again, crowded;
	bool is_closing;
};

static void go_on(struct client *c);

/* ---- a client's life ------------------------------------------------------------------------- */

static bool is_http(const struct client *c)
{
	return c->door == &c->admin->door[DOOR_HTTP];
}

static op_tag client_tag(const struct client *c, unsigned op)
{
	return tag_make(c->admin->class_id, op, slab_handle_of(c->admin->slab, c));
}

static op_tag door_tag(const struct admin *a, const struct door *d)
{
	return tag_make(a->class_id, OP_ACCEPT, (uint64_t)(d - a->door));
}

static void arm(struct admin *a)
{
	for (struct door *d = a->door; d < a->door + N_DOORS; d++) {
		if (d->fd < 0 || d->is_armed || a->is_closing || d->n_clients >= MAX_CLIENTS)
			continue;
		d->is_armed = true;
		loop_accept(a->loop, d->fd, ACCEPT_ONE, door_tag(a, d));
	}
}

/* Nothing is awaited for it, and nothing is to be sent to it. */
static bool is_idle(const struct client *c)
{
	return !c->is_closing && c->pending == NULL && c->out.n == 0;
}

/* Frees a client that is closing, once nothing names it any more. */
static void settle(struct client *c)
{
	struct admin *a = c->admin;

	if (!c->is_closing || c->in_flight != 0)
		return;
	loop_timer_stop(a->loop, &c->deadline);
	loop_timer_stop(a->loop, &c->send_again);
	loop_close(a->loop, c->fd);
	text_deinit(&c->out);
	list_del(&c->link);
	c->door->n_clients--;
	slab_put(a->slab, c);
	if (!timer_is_running(&a->accept_again))
		arm(a);
}

static void close_client(struct client *c)
{
	if (c->is_closing)
		return;
	c->is_closing = true;
	if (c->pending != NULL)
		c->pending->client = NULL;
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
	settle(c);
}

/* ---- a crowd --------------------------------------------------------------------------------- */

/*
 * Closes the one of the door's clients that has been idle longest, but none of the `n_spared` that
 * came last.
 */
static void make_room(struct admin *a, const struct door *d, uint32_t n_spared)
{
	struct client *longest = NULL;
	uint32_t n = d->n_clients;

	list_for_each(it, &a->clients) /* in the order in which they came */
	{
		struct client *c = list_entry(it, struct client, link);
		if (c->door != d || n-- <= n_spared || !is_idle(c))
			continue;
		if (longest == NULL || c->idle_since_ms < longest->idle_since_ms)
			longest = c;
	}
	if (longest == NULL)
		return;
	close_client(longest);
	settle(longest);
}

/* Makes room at each full door. When a door stays full, looks again a little later. */
static void relieve(struct admin *a, uint32_t n_spared)
{
	bool is_crowded = false;

	for (struct door *d = a->door; d < a->door + N_DOORS; d++) {
		if (d->n_clients >= MAX_CLIENTS)
			make_room(a, d, n_spared);
		is_crowded |= d->n_clients >= MAX_CLIENTS;
	}
	if (is_crowded && !timer_is_running(&a->crowded))
		loop_timer_start(a->loop, &a->crowded, CROWDED_MS);
}

static void on_crowded(struct timer *t, void *arg)
{
	(void)arg;
	relieve(container_of(t, struct admin, crowded), 0);
}

/* ---- reading and sending --------------------------------------------------------------------- */

static void read_more(struct client *c)
{
	if (c->in_flight & 1u << OP_RECV || c->is_eof)
		return;
	LB_ASSERT(c->n_in < sizeof(c->in));
	c->in_flight |= 1u << OP_RECV;
	loop_recv(c->admin->loop, c->fd, (uint32_t)(sizeof(c->in) - c->n_in), BUF_SMALL,
		  client_tag(c, OP_RECV));
}

static void send_rest(struct client *c)
{
	struct iovec iov = { .iov_base = c->out.p + c->n_sent, .iov_len = c->out.n - c->n_sent };

	loop_timer_stop(c->admin->loop, &c->send_again); /* this send is the one it would make */
	c->in_flight |= 1u << OP_SEND;
	loop_send(c->admin->loop, c->fd, &iov, 1, SEND_WAIT, client_tag(c, OP_SEND));
}

static void send_more(struct client *c)
{
	if (c->in_flight & 1u << OP_SEND)
		return;
	/* Whoever does not take what it asked for holds a place that others may want. */
	if (!is_http(c))
		loop_timer_start(c->admin->loop, &c->deadline, TAKE_MS);
	send_rest(c);
}

/* It has taken nothing since: its time runs on. */
static void on_send_again(struct timer *t, void *arg)
{
	struct client *c = container_of(t, struct client, send_again);

	(void)arg;
	if (!(c->in_flight & 1u << OP_SEND))
		send_rest(c);
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* The answer to `ctx` (a struct pending) is there: who asked, or NULL if that one has gone. */
static struct client *end_wait(void *ctx, bool *ret_is_in_call)
{
	struct pending *p = ctx;
	struct client *c = p->client;

	*ret_is_in_call = p->is_in_call;
	if (c != NULL)
		c->pending = NULL;
	free(p);
	return c;
}

/* An answer that came within its call is sent by whoever runs the lines. */
static void send_answer(struct client *c, bool is_in_call)
{
	if (is_in_call)
		return;
	go_on(c);
	settle(c);
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

	if (p == NULL) {
		c->out.failed = true;
		return;
	}
	*p = (struct pending){ .client = c, .is_in_call = true };
	c->pending = p;
	c->command.waiter = p;
	if (command_run(&c->command, line) != COMMAND_WAITS) {
		c->pending = NULL;
		free(p);
	} else if (c->pending != NULL) {
		p->is_in_call = false;
	}
}

/* Takes the first line out of the input and runs it. False: there is no whole one. */
static bool run_next_line(struct client *c)
{
	char line[IN_MAX];
	const char *end = memchr(c->in, '\n', c->n_in);
	size_t n = end != NULL ? (size_t)(end - c->in) : c->n_in;
	size_t used = end != NULL ? n + 1 : n;

	/* The last line of a client that has half-closed may lack its newline. */
	if (end == NULL && !(c->is_eof && c->n_in > 0 && c->n_in < sizeof(c->in)))
		return false;
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
	enum http1_verdict v = http1_parse(&c->head, in, c->n_in);

	if (v == HTTP1_MORE && c->n_in < sizeof(c->in))
		return;
	http_answer(c->admin->ops, c->admin->arg, v, &c->head, in, &c->out);
	c->is_last = true;
	loop_timer_start(c->admin->loop, &c->deadline, TAKE_MS);
}

/* ---- completions ----------------------------------------------------------------------------- */

/* Does what can be done next: make an answer, or send one, or read. */
static void go_on(struct client *c)
{
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

/* Lets the client see its last answer: a close with unread input would reset it away. */
static void part(struct client *c)
{
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
	if (res == -EAGAIN) { /* a client that has half-closed and reads slowly, see loop_send() */
		loop_timer_start(c->admin->loop, &c->send_again, SEND_AGAIN_MS);
		return;
	}
	if (res < 0) {
		close_client(c);
		return;
	}
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
		part(c);
	else
		go_on(c);
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
			go_on(c);
	} else if (!c->is_last) {
		LB_ASSERT((size_t)e->res <= sizeof(c->in) - c->n_in);
		memcpy(c->in + c->n_in, e->buf->data, (size_t)e->res);
		c->n_in += (size_t)e->res;
		go_on(c);
	} else if (c->is_shut && !e->more) {
		read_more(c);
	}
}

static void take_in(struct admin *a, struct door *d, int fd)
{
	struct client *c = slab_reserve(a->slab, 1) == 0 ? slab_get(a->slab) : NULL;

	if (c == NULL) {
		loop_close(a->loop, fd);
		return;
	}
	c->admin = a;
	c->door = d;
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
	d->n_clients++;
	if (is_http(c)) {
		http1_init_request(&c->head);
		loop_timer_start(a->loop, &c->deadline, HEAD_MS);
	}
	read_more(c);
	relieve(a, UNHEARD);
}

static void on_accept(struct admin *a, struct door *d, int res)
{
	d->is_armed = false;
	if (a->is_closing) {
		if (res >= 0)
			loop_close(a->loop, res);
		return;
	}
	if (res >= 0)
		take_in(a, d, res);
	else if (res != -ECONNABORTED && !d->has_failed)
		log_warn(a->log, "admin cannot accept error=\"%s\"", strerror(-res));
	d->has_failed = res < 0 && res != -ECONNABORTED;
	if (d->has_failed)
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

	if (op == OP_ACCEPT) {
		on_accept(a, &a->door[tag_handle(e->tag)], e->res);
		return;
	}
	struct client *c = slab_find(a->slab, tag_handle(e->tag));
	LB_ASSERT(c != NULL);
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
	settle(c);
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
	a->door[DOOR_SOCKET].fd = a->door[DOOR_HTTP].fd = -1;
	list_init(&a->clients);
	timer_init(&a->accept_again, on_accept_again);
	timer_init(&a->crowded, on_crowded);
	a->slab = slab_new("admin_client", sizeof(struct client), N_DOORS * MAX_CLIENTS);
	if (a->slab == NULL)
		return admin_free(a);
	loop_set_handler(a->loop, a->class_id, on_completion, a);
	return a;
}

void admin_serve_socket(struct admin *a, int fd)
{
	a->door[DOOR_SOCKET].fd = fd;
	arm(a);
}

void admin_serve_http(struct admin *a, int fd)
{
	a->door[DOOR_HTTP].fd = fd;
	arm(a);
}

/* Returns whether an accept is still in flight. */
static bool close_door(struct admin *a, struct door *d)
{
	if (d->is_armed) {
		loop_cancel(a->loop, d->fd, door_tag(a, d));
		return true;
	}
	if (d->fd >= 0)
		loop_close(a->loop, d->fd);
	d->fd = -1;
	return false;
}

bool admin_close(struct admin *a)
{
	bool is_busy = false;

	a->is_closing = true;
	loop_timer_stop(a->loop, &a->accept_again);
	loop_timer_stop(a->loop, &a->crowded);
	for (struct door *d = a->door; d < a->door + N_DOORS; d++)
		is_busy = close_door(a, d) || is_busy;
	list_for_each(it, &a->clients)
	{
		struct client *c = list_entry(it, struct client, link);
		close_client(c);
		settle(c);
	}
	return is_busy || !list_is_empty(&a->clients);
}

struct admin *admin_free(struct admin *a)
{
	if (a == NULL)
		return NULL;
	LB_ASSERT(list_is_empty(&a->clients));
	slab_free(a->slab);
	free(a);
	return NULL;
}
