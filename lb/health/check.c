/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a check, one connection:
 *
 *   connect -> (a pool with proxy_protocol) send a PROXY header
 *           -> (tcp) result, reset
 *           -> send request -> receive head -> result by its status (http) ------------> linger
 *                                           -> 101 with the right key (websocket)
 *                                              -> result, send a Close frame -----------> linger
 *
 * Terms. The owner of a check is the probe that the check belongs to. A check reports when it calls
 * the owner's on_result() or on_none(), once. To linger is to read and drop until the backend
 * closes.
 *
 *   check_new()    check_start()       start_connect(): from the next local address
 *   on_connected()                     greet() sends the PROXY header, if there is to be one
 *   go_on()                            a tcp check has its result; another one asks (ask())
 *   on_received()  take_answer()       gives what came to question.c, which judges it
 *   report()       fail()  give_up()   a result; a bad result that ends the check; no result
 *   linger()       drop()              after the result
 *   check_end()                        by the owner, by on_timeout(), or after the last byte
 *   settle()                           frees the check; each function that the loop calls ends with
 * it
 *
 * lb lingers for two reasons. The backend sees neither a reset nor a FIN before it has sent its own
 * last byte. And because the backend closes first, its side of the connection waits in TIME_WAIT.
 * If lb's side waited, very frequent checks would use up the local ports. A tcp check has sent
 * nothing but a PROXY header, so it need not linger: it is reset, and then no side waits in
 * TIME_WAIT. The header says that the connection is lb's own (LOCAL, or UNKNOWN in version 1), so
 * that no backend takes it for a client's. When a backend
 * does not close, lb resets the connection at the check's timeout. When a backend sends without
 * end, lb resets the connection after LINGER_BYTES.
 *
 * One timer covers a check from its connect to its end. The descriptor is closed when the last
 * completion of each operation was dispatched.
 *
 * Thread: main.
 */
#include "health/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health/spec.h"
#include "net/sock.h"
#include "util/slab.h"

/*
 * The most bytes that a check drops while it lingers: a page of 100 KB is read to its end. A guess,
 * never tuned.
 */
#define LINGER_BYTES (128u * 1024)

#define TEXT_MAX 96u /* bytes of a result's text, with its NUL */

enum { OP_CONNECT, OP_SEND, OP_RECV, N_OPS };

_Static_assert(N_OPS == CHECK_N_OPS, "the loop reserves room for CHECK_N_OPS operations");

/* ---- operations ------------------------------------------------------------------------------ */

static op_tag tag_of(const struct check *c, unsigned op)
{
	return tag_make(c->all->class_id, op, slab_handle_of(c->all->slab, c));
}

static bool is_in_flight(const struct check *c, unsigned op)
{
	return c->in_flight & 1u << op;
}

static op_tag start_op(struct check *c, unsigned op)
{
	LB_ASSERT(c->phase != CHECK_ENDING && c->fd >= 0 && !is_in_flight(c, op));
	c->in_flight |= (uint8_t)(1u << op);
	return tag_of(c, op);
}

/* Frees the check if it is in CHECK_ENDING and has no operation in flight. */
static void settle(struct check *c)
{
	struct checks *all = c->all;
	void *owner = c->owner;

	if (c->phase != CHECK_ENDING || c->in_flight != 0)
		return;
	if (c->fd >= 0)
		loop_close(all->loop, c->fd);
	list_del(&c->link);
	free(c->question);
	slab_put(all->slab, c);
	all->ops->on_end(owner);
}

void check_end(struct check *c, enum check_close how)
{
	struct loop *l = c->all->loop;

	loop_assert_owner(l);
	if (c->phase == CHECK_ENDING)
		return;
	loop_timer_stop(l, &c->timeout);
	if (how == CHECK_BY_RESET && c->fd >= 0)
		sock_reset_on_close(l, c->fd);
	c->phase = CHECK_ENDING;
	for (unsigned op = 0; op < N_OPS; op++)
		if (is_in_flight(c, op))
			loop_cancel(l, c->fd, tag_of(c, op));
}

/* ---- what is reported ------------------------------------------------------------------------ */

static double elapsed_ms(const struct check *c)
{
	return (double)(loop_now_ns(c->all->loop) - c->start_ns) / 1e6;
}

/*
 * Reports a result. The owner may end the check in on_result(), so the check may be in CHECK_ENDING
 * when report() returns.
 */
static void report(struct check *c, bool is_ok, const char *text)
{
	LB_ASSERT(!c->has_reported);
	c->has_reported = true;
	c->all->ops->on_result(c->owner, is_ok, text);
}

/* Reports a bad result, as "connect: Connection refused". Does not end the check. */
static void report_bad(struct check *c, const char *what, const char *why)
{
	char text[TEXT_MAX];

	(void)snprintf(text, sizeof(text), "%s: %s", what, why);
	report(c, false, text);
}

static void fail(struct check *c, const char *what, const char *why)
{
	check_end(c, CHECK_BY_FIN);
	report_bad(c, what, why);
}

/* Ends the check without a result. For failures that are not the backend's. */
static void give_up(struct check *c, const char *why)
{
	char text[TEXT_MAX];

	LB_ASSERT(!c->has_reported);
	check_end(c, CHECK_BY_FIN);
	c->has_reported = true;
	(void)snprintf(text, sizeof(text), "no check: %s", why);
	c->all->ops->on_none(c->owner, text);
}

/* ---- sending and receiving ------------------------------------------------------------------- */

static void send_more(struct check *c)
{
	struct iovec iov = { .iov_base = (char *)(uintptr_t)c->out + c->n_sent,
			     .iov_len = c->n_out - c->n_sent };

	LB_ASSERT(c->n_sent < c->n_out);
	loop_send(c->all->loop, c->fd, &iov, 1, SEND_WAIT, start_op(c, OP_SEND));
}

/* Starts sending `bytes`, which are borrowed until they are sent. */
static void send_bytes(struct check *c, const char *bytes, size_t n)
{
	c->out = bytes;
	c->n_out = n;
	c->n_sent = 0;
	send_more(c);
}

static void receive(struct check *c)
{
	loop_recv(c->all->loop, c->fd, BUF_SMALL_BYTES, BUF_SMALL, start_op(c, OP_RECV));
}

static void send_close_frame(struct check *c)
{
	uint8_t mask[4];

	c->owes_close_frame = false;
	loop_random(c->all->loop, mask, sizeof(mask));
	send_bytes(c, (char *)c->close_frame, question_close_frame(mask, c->close_frame));
}

/* ---- lingering ------------------------------------------------------------------------------- */

/*
 * Counts `n` received bytes as dropped, and goes on receiving, or resets the connection when it has
 * dropped more than LINGER_BYTES.
 */
static void drop(struct check *c, size_t n)
{
	c->n_dropped += n;
	if (c->n_dropped > LINGER_BYTES)
		check_end(c, CHECK_BY_RESET);
	else if (!is_in_flight(c, OP_RECV))
		receive(c);
}

/* Frees the question, unless its request is still being sent. */
static void drop_question(struct check *c)
{
	if (is_in_flight(c, OP_SEND) && c->out != (char *)c->close_frame)
		return;
	free(c->question);
	c->question = NULL;
}

/*
 * Begins to linger, when the check has reported. `n` is how many bytes have come behind the head.
 */
static void linger(struct check *c, size_t n)
{
	LB_ASSERT(c->has_reported);
	if (c->phase == CHECK_ENDING) /* the owner has ended the check in on_result() */
		return;
	c->phase = CHECK_LINGERING;
	if (c->owes_close_frame && !is_in_flight(c, OP_SEND))
		send_close_frame(c);
	drop_question(c);
	drop(c, n);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void report_answer(struct check *c, const struct answer *a)
{
	char text[TEXT_MAX];

	if (a->kind == ANSWER_WRONG) {
		report_bad(c, a->what, a->why);
		return;
	}
	(void)snprintf(text, sizeof(text), "%s%u in %.1fms",
		       a->kind == ANSWER_GOOD ? "" : "status ", a->status, elapsed_ms(c));
	report(c, a->kind == ANSWER_GOOD, text);
}

static void take_answer(struct check *c, const struct completion *done)
{
	if (done->res <= 0) {
		fail(c, "response", done->res == 0 ? "closed" : strerror(-done->res));
		return;
	}
	struct answer a = question_feed(c->question, done->buf->data, (size_t)done->res);

	if (a.kind == ANSWER_MORE) {
		if (!done->more)
			receive(c);
		return;
	}
	c->owes_close_frame = a.is_tunnel;
	report_answer(c, &a);
	linger(c, a.n_behind);
}

static void ask(struct check *c)
{
	struct question *q = malloc(sizeof(*q));
	uint8_t nonce[QUESTION_NONCE_BYTES];

	if (q == NULL) {
		give_up(c, strerror(ENOMEM));
		return;
	}
	c->question = q;
	loop_random(c->all->loop, nonce, sizeof(nonce));
	if (question_init(q, c->spec, nonce) < 0) {
		fail(c, "request", "path and host are too long");
		return;
	}
	c->phase = CHECK_ASKING;
	send_bytes(c, q->request, q->n_request);
	receive(c);
}

/* ---- connecting ------------------------------------------------------------------------------ */

/*
 * Starts a connect from the next local address. Returns 0, or a negative errno when it has started
 * no operation.
 */
static int start_connect(struct check *c)
{
	struct loop *l = c->all->loop;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&c->spec->addr, &sa);
	const struct addr *from = check_spec_next_source(c->spec);

	c->n_connects++;
	c->fd = sock_for_connect(l, &c->spec->addr, from, c->spec->conf.timeout_ms);
	if (c->fd < 0)
		return c->fd;
	loop_connect(l, c->fd, (struct sockaddr *)&sa, len, start_op(c, OP_CONNECT));
	return 0;
}

/* Whether `error` says that lb or its machine is short of descriptors or memory. */
static bool is_own_shortage(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

static void connect_failed(struct check *c, int error)
{
	/* When the local address has no free port, the next local address may have one. */
	while (error == -EADDRNOTAVAIL && c->n_connects < c->spec->n_sources) {
		if (c->fd >= 0)
			loop_close(c->all->loop, c->fd);
		error = start_connect(c);
		if (error == 0)
			return;
	}
	if (error == -EADDRNOTAVAIL)
		give_up(c, "no local port is left");
	else if (is_own_shortage(error))
		give_up(c, strerror(-error));
	else
		fail(c, "connect", strerror(-error));
}

static void on_timeout(struct timer *t, void *arg)
{
	struct check *c = container_of(t, struct check, timeout);
	char text[TEXT_MAX];

	(void)arg;
	check_end(c, CHECK_BY_RESET);
	if (!c->has_reported) {
		(void)snprintf(text, sizeof(text), "timeout after %ums", c->spec->conf.timeout_ms);
		report(c, false, text);
	}
	settle(c);
}

struct check *check_new(struct checks *all, struct check_spec *spec, void *owner)
{
	struct check *c = slab_reserve(all->slab, 1) == 0 ? slab_get(all->slab) : NULL;

	if (c == NULL)
		return NULL;
	*c = (struct check){
		.phase = CHECK_CONNECTING,
		.all = all,
		.spec = spec,
		.owner = owner,
		.fd = -1,
		.start_ns = loop_now_ns(all->loop),
	};
	list_init(&c->link);
	timer_init(&c->timeout, on_timeout);
	return c;
}

void check_start(struct check *c)
{
	loop_assert_owner(c->all->loop);
	LB_ASSERT(c->phase == CHECK_CONNECTING && c->n_connects == 0);
	loop_timer_start(c->all->loop, &c->timeout, c->spec->conf.timeout_ms);
	int r = start_connect(c);

	if (r < 0) {
		connect_failed(c, r);
		settle(c);
	}
}

/* ---- completions ----------------------------------------------------------------------------- */

/* The backend expects the request now, or nothing. */
static void go_on(struct check *c)
{
	char text[TEXT_MAX];

	if (c->spec->conf.type == CONF_CHECK_TCP) {
		check_end(c, CHECK_BY_RESET);
		(void)snprintf(text, sizeof(text), "connected in %.1fms", elapsed_ms(c));
		report(c, true, text);
	} else {
		ask(c);
	}
}

static void greet(struct check *c)
{
	static const struct addr unknown = { 0 };
	size_t n;

	_Static_assert(PROXY_V2_LOCAL_BYTES <= CHECK_GREETING_MAX, "the header has room");
	c->phase = CHECK_GREETING;
	if (c->spec->proxy == CONF_PROXY_V1)
		n = proxy_v1_write(&unknown, &unknown, c->greeting);
	else
		n = proxy_v2_write_local(c->greeting);
	send_bytes(c, (char *)c->greeting, n);
}

static void on_connected(struct check *c, int res)
{
	LB_ASSERT(c->phase == CHECK_CONNECTING);
	if (res < 0)
		connect_failed(c, res);
	else if (c->spec->proxy != CONF_PROXY_OFF)
		greet(c);
	else
		go_on(c);
}

static void on_sent(struct check *c, int res)
{
	if (res < 0) {
		if (c->phase == CHECK_LINGERING)
			check_end(c, CHECK_BY_FIN);
		else
			fail(c, "send", strerror(-res));
		return;
	}
	c->n_sent += (size_t)res;
	LB_ASSERT(c->n_sent <= c->n_out);
	if (c->n_sent < c->n_out)
		send_more(c);
	else if (c->phase == CHECK_GREETING)
		go_on(c);
	else if (c->owes_close_frame && c->phase == CHECK_LINGERING)
		send_close_frame(c);
	if (c->phase == CHECK_LINGERING)
		drop_question(c);
}

static void on_received(struct check *c, const struct completion *done)
{
	if (done->res == -ENOBUFS)
		receive(c);
	else if (c->phase == CHECK_ASKING)
		take_answer(c, done);
	else if (done->res > 0)
		drop(c, (size_t)done->res);
	else
		check_end(c, CHECK_BY_FIN);
}

static void on_completion(void *arg, const struct completion *done)
{
	struct checks *all = arg;
	struct check *c = slab_find(all->slab, tag_handle(done->tag));
	unsigned op = tag_kind(done->tag);

	LB_ASSERT(c != NULL && is_in_flight(c, op));
	if (!done->more)
		c->in_flight &= (uint8_t) ~(1u << op);
	if (c->phase != CHECK_ENDING) {
		if (op == OP_CONNECT)
			on_connected(c, done->res);
		else if (op == OP_SEND)
			on_sent(c, done->res);
		else
			on_received(c, done);
	}
	if (done->buf != NULL)
		buf_put(all->loop->bufs, done->buf);
	settle(c);
}

/* ---- all checks ------------------------------------------------------------------------------ */

int checks_init(struct checks *all, struct loop *loop, unsigned class_id,
		const struct check_ops *ops)
{
	*all = (struct checks){ .loop = loop, .class_id = class_id, .ops = ops };
	all->slab = slab_new("check", sizeof(struct check), 1u << 22);
	if (all->slab == NULL)
		return -ENOMEM;
	loop_set_handler(loop, class_id, on_completion, all);
	return 0;
}

void checks_deinit(struct checks *all)
{
	all->slab = slab_free(all->slab);
}

uint32_t checks_n(const struct checks *all)
{
	return slab_n_used(all->slab);
}
