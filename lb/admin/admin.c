/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two listening sockets and their clients, on main's loop.
 *
 * A client's input gathers in a small buffer; whole lines (or an HTTP head) are answered into a
 * text that is sent piece by piece. While an answer is under way, being made or sent, nothing more
 * is read: so answers come in order, and a client that does not read holds one answer at most.
 *
 * Thread: main.
 */
#include "admin/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin/command.h"
#include "admin/format.h"
#include "proto/http1.h"
#include "util/list.h"
#include "util/slab.h"
#include "util/text.h"

#define MAX_CLIENTS 256
#define LINE_MAX 4096
#define HTTP_HEAD_MS 5000
#define HTTP_LINGER_MS 2000
#define RETRY_MS 100

/* Kinds of tags. The accept's handle is 0 for the socket, 1 for HTTP, and the kind tells it apart.
 */
enum { OP_RECV, OP_SEND, OP_ACCEPT_SOCKET, OP_ACCEPT_HTTP };

struct client {
	struct list link; /* admin->clients */
	struct admin *admin;
	int fd;
	uint8_t in_flight; /* 1u << OP_RECV, 1u << OP_SEND */
	bool is_http;
	bool is_eof;     /* it has half-closed */
	bool is_waiting; /* a command's answer comes later */
	bool is_closing; /* closed when nothing is in flight */
	bool is_last;    /* closes after this answer (HTTP) */
	size_t n_in, n_sent;
	struct text out;
	struct command_ctx command;
	struct http1_head head;
	struct timer timer;
	char in[LINE_MAX];
};

struct door {
	int fd;
	bool is_armed;
};

struct admin {
	struct loop *loop;
	const struct log *log;
	const struct admin_ops *ops;
	void *arg;
	unsigned class;
	struct slab *slab; /* owns */
	struct list clients;
	uint32_t n_clients;
	struct door socket, http;
	struct timer retry;
	bool is_closing;
};

static void go_on(struct client *c);

/* ---- a client's life ------------------------------------------------------------------------- */

static op_tag client_tag(const struct client *c, unsigned op)
{
	return tag_make(c->admin->class, op, slab_handle_of(c->admin->slab, c));
}

static void arm(struct admin *a, struct door *d, unsigned op)
{
	if (d->fd < 0 || d->is_armed || a->is_closing || a->n_clients >= MAX_CLIENTS)
		return;
	d->is_armed = true;
	loop_accept(a->loop, d->fd, false, tag_make(a->class, op, 0));
}

static void arm_all(struct admin *a)
{
	arm(a, &a->socket, OP_ACCEPT_SOCKET);
	arm(a, &a->http, OP_ACCEPT_HTTP);
}

/* Frees a client that is closing, once nothing names it any more. */
static void settle(struct client *c)
{
	struct admin *a = c->admin;

	if (!c->is_closing || c->in_flight != 0)
		return;
	loop_timer_stop(a->loop, &c->timer);
	loop_close(a->loop, c->fd);
	text_deinit(&c->out);
	list_del(&c->link);
	slab_put(a->slab, c);
	a->n_clients--;
	arm_all(a);
}

static void close_client(struct client *c)
{
	if (c->is_closing)
		return;
	c->is_closing = true;
	for (unsigned op = OP_RECV; op <= OP_SEND; op++)
		if (c->in_flight & 1u << op)
			loop_cancel(c->admin->loop, c->fd, client_tag(c, op));
}

static void on_timeout(struct timer *t, void *arg)
{
	struct client *c = container_of(t, struct client, timer);

	(void)arg;
	close_client(c);
	settle(c);
}

static void read_more(struct client *c)
{
	if (c->in_flight & 1u << OP_RECV || c->is_eof || c->is_closing)
		return;
	size_t room = sizeof(c->in) - c->n_in;
	c->in_flight |= 1u << OP_RECV;
	loop_recv(c->admin->loop, c->fd, room > 0 ? (uint32_t)room : 1, BUF_SMALL,
		  client_tag(c, OP_RECV));
}

static void send_more(struct client *c)
{
	struct iovec iov = { .iov_base = c->out.p + c->n_sent, .iov_len = c->out.n - c->n_sent };

	if (c->in_flight & 1u << OP_SEND || c->is_closing)
		return;
	c->in_flight |= 1u << OP_SEND;
	loop_send(c->admin->loop, c->fd, &iov, 1, false, client_tag(c, OP_SEND));
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* The asker of an answer that took a while; NULL if it has gone since. */
static struct client *waiter_of(void *ctx)
{
	struct client *c = ctx;

	LB_ASSERT(c->is_waiting);
	c->is_waiting = false;
	c->in_flight &= (uint8_t) ~(1u << 7);
	return c;
}

static void on_conns(void *ctx, int result, const struct admin_conn *rows, size_t n)
{
	struct client *c = waiter_of(ctx);

	if (!c->is_closing) {
		command_conns(&c->command, result, rows, n);
		go_on(c);
	}
	settle(c);
}

static void on_reload(void *ctx, int result, const char *why)
{
	struct client *c = waiter_of(ctx);

	if (!c->is_closing) {
		command_reload(&c->command, result, why);
		go_on(c);
	}
	settle(c);
}

/*
 * Runs one whole line. While a command waits, bit 7 of in_flight keeps the client alive for its
 * answer, even when its connection ends before.
 */
static void run_line(struct client *c, struct slice line)
{
	c->is_waiting = true;
	c->in_flight |= 1u << 7;
	enum command_result r = command_run(&c->command, line, on_conns, on_reload, c);
	if (r != COMMAND_WAITS) {
		c->is_waiting = false;
		c->in_flight &= (uint8_t) ~(1u << 7);
	}
}

/* Takes the first line out of the input. False: there is no whole one. */
static bool next_line(struct client *c)
{
	char *end = memchr(c->in, '\n', c->n_in);
	size_t n = end != NULL ? (size_t)(end - c->in) : c->n_in;

	if (end == NULL && !(c->is_eof && c->n_in > 0))
		return false;
	/* The last line of a client that has half-closed may lack its newline. */
	char line[LINE_MAX];
	memcpy(line, c->in, n);
	size_t used = end != NULL ? n + 1 : n;
	memmove(c->in, c->in + used, c->n_in - used);
	c->n_in -= used;
	run_line(c, (struct slice){ .p = line, .n = n });
	return true;
}

static void serve_lines(struct client *c)
{
	while (!c->is_waiting && c->out.n == 0 && next_line(c))
		;
	if (c->out.n == 0 && !c->is_waiting && c->n_in == sizeof(c->in)) {
		command_error(&c->out, "the line is too long");
		c->is_last = true;
	}
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

static void answer(struct client *c, int status, const char *phrase, const char *type,
		   const char *extra, const struct text *body)
{
	struct text *out = &c->out;

	text_addf(out,
		  "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
		  "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
		  status, phrase, type, body->n, extra);
	if (c->head.method != HTTP1_HEAD && body->n > 0)
		text_add(out, text_slice(body));
	c->is_last = true;
}

static void answer_text(struct client *c, int status, const char *phrase, const char *extra,
			const char *line)
{
	struct text body = TEXT_INIT;

	text_addf(&body, "%s\n", line);
	answer(c, status, phrase, "text/plain; charset=utf-8", extra, &body);
	text_deinit(&body);
}

static void answer_figures(struct client *c, bool is_prometheus)
{
	struct admin *a = c->admin;
	struct status st = { 0 };
	struct text body = TEXT_INIT;

	if (a->ops->status(a->arg, &st) < 0) {
		answer_text(c, 503, "Service Unavailable", "", "out of memory");
	} else if (is_prometheus) {
		format_prometheus(&st, &body);
		answer(c, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", "", &body);
	} else {
		struct json j = JSON_INIT;
		format_status_json(&st, &j);
		text_add(&body, text_slice(&j.out));
		text_addf(&body, "\n");
		json_deinit(&j);
		answer(c, 200, "OK", "application/json", "", &body);
	}
	status_deinit(&st);
	text_deinit(&body);
}

static void answer_request(struct client *c)
{
	struct admin *a = c->admin;
	struct slice path = http1_path(&c->head, (const uint8_t *)c->in);

	if (c->head.method != HTTP1_GET && c->head.method != HTTP1_HEAD)
		answer_text(c, 405, "Method Not Allowed", "Allow: GET, HEAD\r\n",
			    "only GET and HEAD");
	else if (slice_eq(path, SLICE("/healthz")) && a->ops->is_accepting(a->arg))
		answer_text(c, 200, "OK", "", "ok");
	else if (slice_eq(path, SLICE("/healthz")))
		answer_text(c, 503, "Service Unavailable", "", "stopping");
	else if (slice_eq(path, SLICE("/metrics")))
		answer_figures(c, true);
	else if (slice_eq(path, SLICE("/stats")))
		answer_figures(c, false);
	else
		answer_text(c, 404, "Not Found", "", "try /healthz, /metrics or /stats");
}

static void serve_http(struct client *c)
{
	if (c->is_last || c->out.n > 0)
		return;
	enum http1_verdict v = http1_parse(&c->head, (const uint8_t *)c->in, c->n_in);
	if (v == HTTP1_OK)
		answer_request(c);
	else if (v != HTTP1_MORE || c->n_in == sizeof(c->in))
		answer_text(c, 400, "Bad Request", "", "not a request lb can read");
	else if (c->is_eof)
		close_client(c);
}

/* ---- completions ----------------------------------------------------------------------------- */

/* Does what can be done next: send an answer, or make one, or read. */
static void go_on(struct client *c)
{
	if (c->is_closing)
		return;
	if (c->out.n == 0) {
		if (c->is_http)
			serve_http(c);
		else
			serve_lines(c);
	}
	if (c->is_closing)
		return;
	if (c->out.failed)
		close_client(c);
	else if (c->out.n > 0)
		send_more(c);
	else if (c->is_eof && !c->is_waiting)
		close_client(c);
	else if (!c->is_waiting)
		read_more(c);
}

static void on_sent(struct client *c, int res)
{
	if (res < 0) {
		close_client(c);
		return;
	}
	c->n_sent += (size_t)res;
	if (c->n_sent < c->out.n) {
		send_more(c);
		return;
	}
	text_clear(&c->out);
	c->n_sent = 0;
	if (!c->is_last) {
		go_on(c);
		return;
	}
	/* Lets the client see the answer before a close with unread input resets it. */
	(void)loop_shutdown(c->admin->loop, c->fd, SHUT_WR);
	c->n_in = 0;
	loop_timer_start(c->admin->loop, &c->timer, HTTP_LINGER_MS);
	read_more(c);
}

static void on_received(struct client *c, const struct completion *e)
{
	if (e->res == -ENOBUFS) {
		read_more(c);
		return;
	}
	if (e->res < 0 || (e->res == 0 && c->is_last)) {
		close_client(c);
		return;
	}
	if (c->is_last) { /* after the last answer input is only dropped */
		if (!e->more)
			read_more(c);
		return;
	}
	if (e->res == 0) {
		c->is_eof = true;
	} else {
		LB_ASSERT((size_t)e->res <= sizeof(c->in) - c->n_in);
		memcpy(c->in + c->n_in, e->buf->data, (size_t)e->res);
		c->n_in += (size_t)e->res;
	}
	go_on(c);
}

static void take_in(struct admin *a, int fd, bool is_http)
{
	struct client *c = NULL;

	if (slab_reserve(a->slab, 1) == 0)
		c = slab_get(a->slab);
	if (c == NULL) {
		loop_close(a->loop, fd);
		return;
	}
	c->admin = a;
	c->fd = fd;
	c->is_http = is_http;
	c->command = (struct command_ctx){ .ops = a->ops, .arg = a->arg, .out = &c->out };
	timer_init(&c->timer, on_timeout);
	list_add_tail(&a->clients, &c->link);
	a->n_clients++;
	if (is_http) {
		http1_init_request(&c->head);
		loop_timer_start(a->loop, &c->timer, HTTP_HEAD_MS);
	}
	read_more(c);
}

static void on_accept(struct admin *a, const struct completion *e, bool is_http)
{
	struct door *d = is_http ? &a->http : &a->socket;

	d->is_armed = false;
	if (e->res >= 0)
		take_in(a, e->res, is_http);
	if (e->res == -EMFILE || e->res == -ENFILE || e->res == -ENOMEM || e->res == -ENOBUFS)
		loop_timer_start(a->loop, &a->retry, RETRY_MS);
	else
		arm_all(a);
}

static void on_completion(void *arg, const struct completion *e)
{
	struct admin *a = arg;
	unsigned op = tag_kind(e->tag);

	if (op >= OP_ACCEPT_SOCKET) {
		on_accept(a, e, op == OP_ACCEPT_HTTP);
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

static void on_retry(struct timer *t, void *arg)
{
	(void)arg;
	arm_all(container_of(t, struct admin, retry));
}

struct admin *admin_new(const struct admin_opts *o)
{
	struct admin *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->loop = o->loop;
	a->log = o->log;
	a->ops = o->ops;
	a->arg = o->arg;
	a->class = o->class;
	a->socket.fd = a->http.fd = -1;
	list_init(&a->clients);
	timer_init(&a->retry, on_retry);
	a->slab = slab_new("admin_client", sizeof(struct client), MAX_CLIENTS);
	if (a->slab == NULL)
		return admin_free(a);
	loop_set_handler(a->loop, a->class, on_completion, a);
	return a;
}

void admin_serve_socket(struct admin *a, int fd)
{
	a->socket.fd = fd;
	arm_all(a);
}

void admin_serve_http(struct admin *a, int fd)
{
	a->http.fd = fd;
	arm_all(a);
}

static bool close_door(struct admin *a, struct door *d, unsigned op)
{
	if (d->fd < 0)
		return false;
	if (d->is_armed) {
		loop_cancel(a->loop, d->fd, tag_make(a->class, op, 0));
		return true;
	}
	loop_close(a->loop, d->fd);
	d->fd = -1;
	return false;
}

bool admin_close(struct admin *a)
{
	a->is_closing = true;
	loop_timer_stop(a->loop, &a->retry);
	bool is_busy = close_door(a, &a->socket, OP_ACCEPT_SOCKET);
	is_busy = close_door(a, &a->http, OP_ACCEPT_HTTP) || is_busy;
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
