/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A probe is a target with its interval, its health and its checks. A check is one connection:
 *
 *   connect -> (tcp) verdict, reset
 *           -> send request -> receive head -> verdict by its status (http) -----------> linger
 *                                           -> 101 with the right key (websocket)
 *                                              -> verdict, send a Close frame ----------> linger
 *
 * To linger is to read and drop until the backend closes. So the backend sees neither a reset nor a
 * connection that ends before its own last byte, and it is the backend's side that waits in
 * TIME_WAIT: lb's side would use up the local ports of very frequent checks. A tcp check, where
 * nothing was sent, is reset for the same reason. A backend that does not close is reset when the
 * time of the check is over, one that sends without end after LINGER_BYTES.
 *
 * One timer covers a check from its connect to its end. The next check begins at its time, whether
 * or not the one before lingers; MAX_CHECKS bounds how many of one probe there are, probes_limit()
 * how many of all. A descriptor is closed when each operation's last completion was seen.
 *
 * Thread: main.
 */
#include "proxy/probe.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "balance/health.h"
#include "ev/loop.h"
#include "net/sock.h"
#include "proto/accept_key.h"
#include "proto/http1.h"
#include "proto/upgrade.h"
#include "proto/ws_frame.h"
#include "util/hash.h"
#include "util/list.h"
#include "util/slab.h"

#define REQUEST_MAX 1024
#define ANSWER_MAX (HTTP1_HEAD_MAX + BUF_SMALL_BYTES) /* a head, and what came with its end */
#define CLOSE_MAX (WS_HEAD_MAX + 2)

/* A page of 100 KB is read to its end. A guess, never tuned. */
#define LINGER_BYTES (128u * 1024)

/* Checks of one probe: one that awaits its verdict, and those that linger or are given up. */
#define MAX_CHECKS 4u

enum { OP_CONNECT, OP_SEND, OP_RECV, N_OPS };

enum check_phase { CONNECTING, ASKING, LINGERING, ENDING };

/* How lb ends a connection. */
enum close_how { BY_FIN, BY_RESET };

/* What an http or websocket check asks, and what it is answered. */
struct question {
	struct upgrade upgrade;
	struct http1_head head;
	char request[REQUEST_MAX];
	size_t n_answer;
	uint8_t answer[ANSWER_MAX];
};

struct check {
	struct list link; /* probe->checks, the oldest first */
	struct probe *probe;
	enum check_phase phase;
	int fd;
	uint8_t in_flight; /* 1u << OP_ */
	bool says_close;   /* a Close frame is to be sent */
	uint32_t n_sources_tried;
	uint64_t start_ns;
	struct timer timeout;
	struct question *question; /* owns: from the request to the verdict */
	const char *out;           /* borrows: what is being sent */
	size_t n_out, n_sent;
	size_t n_dropped; /* while lingering */
	char close[CLOSE_MAX];
};

struct probe {
	struct list link; /* probes->all */
	struct list same; /* probes->bucket[] of its target */
	struct list due;  /* probes->due, while its next check waits for a place */
	struct probes *all;
	void *target;
	struct addr addr;
	struct conf_health conf; /* a copy; owns path and host */
	struct addr *sources;    /* owns: those of the target's family */
	size_t n_sources, next_source;
	struct health health;
	struct timer next;
	bool is_paused;
	bool is_wanted;        /* while probes_set() runs */
	bool is_removed;       /* freed when its last check is */
	struct check *current; /* borrows: the one that awaits its verdict, or NULL */
	struct list checks;    /* owns */
	uint32_t n_checks;
};

struct probes {
	struct loop *loop;
	unsigned class_id;
	const struct probe_ops *ops;
	void *ops_arg;
	struct slab *slab;   /* owns: of struct probe */
	struct slab *checks; /* owns: of struct check */
	struct list all;
	struct list due;     /* of struct probe: the longest due first */
	uint32_t max_checks; /* at a time */
	struct list *bucket; /* owns: n_buckets, a power of two */
	size_t n_buckets;
};

static void start_due(struct probes *all);

/* ---- operations ------------------------------------------------------------------------------ */

static op_tag tag_of(const struct check *c, unsigned op)
{
	return tag_make(c->probe->all->class_id, op, slab_handle_of(c->probe->all->checks, c));
}

static op_tag start_op(struct check *c, unsigned op)
{
	c->in_flight |= (uint8_t)(1u << op);
	return tag_of(c, op);
}

static bool is_in_flight(const struct check *c, unsigned op)
{
	return c->in_flight & 1u << op;
}

static void free_probe(struct probe *p)
{
	LB_ASSERT(p->n_checks == 0);
	loop_timer_stop(p->all->loop, &p->next);
	list_del(&p->link);
	list_del(&p->same);
	list_del(&p->due);
	free(p->conf.path);
	free(p->conf.host);
	free(p->sources);
	slab_put(p->all->slab, p);
}

/* Frees a check that has ended and has nothing in flight; with the last one a removed probe. */
static void settle(struct check *c)
{
	struct probe *p = c->probe;

	if (c->phase != ENDING || c->in_flight != 0)
		return;
	if (c->fd >= 0)
		loop_close(p->all->loop, c->fd);
	list_del(&c->link);
	p->n_checks--;
	free(c->question);
	slab_put(p->all->checks, c);
	if (p->is_removed && p->n_checks == 0)
		free_probe(p);
}

/* The connection is closed as soon as nothing is in flight: settle() has to follow. */
static void end_check(struct check *c, enum close_how how)
{
	struct loop *l = c->probe->all->loop;

	if (c->phase == ENDING)
		return;
	if (c->probe->current == c)
		c->probe->current = NULL;
	loop_timer_stop(l, &c->timeout);
	if (how == BY_RESET && c->fd >= 0)
		sock_reset_on_close(l, c->fd);
	c->phase = ENDING;
	for (unsigned op = OP_CONNECT; op <= OP_RECV; op++)
		if (is_in_flight(c, op))
			loop_cancel(l, c->fd, tag_of(c, op));
}

/*
 * The check has a result. Whoever hears of it may remove the probe there and then: the check has
 * ended when this returns, and keeps the probe.
 */
static void report(struct check *c, bool is_ok, const char *text)
{
	struct probe *p = c->probe;
	const struct probes *all = p->all;
	bool is_first = !p->health.is_known;

	if (p->current == c)
		p->current = NULL;
	all->ops->on_result(all->ops_arg, p->target, is_ok, text);
	if (health_result(&p->health, is_ok))
		all->ops->on_verdict(all->ops_arg, p->target, p->health.is_up, is_first, text);
}

static double elapsed_ms(const struct check *c)
{
	return (double)(loop_now_ns(c->probe->all->loop) - c->start_ns) / 1e6;
}

/* A result that is not good: "connect: Connection refused". The connection may go on. */
static void report_bad(struct check *c, const char *what, const char *why)
{
	char text[96];

	(void)snprintf(text, sizeof(text), "%s: %s", what, why);
	report(c, false, text);
}

static void fail(struct check *c, const char *what, const char *why)
{
	end_check(c, BY_FIN);
	report_bad(c, what, why);
}

/* The check says nothing of the backend. */
static void give_up(struct check *c, const char *what, const char *why)
{
	const struct probes *all = c->probe->all;
	char text[96];

	end_check(c, BY_FIN);
	(void)snprintf(text, sizeof(text), "%s: %s", what, why);
	all->ops->on_none(all->ops_arg, c->probe->target, text);
}

/* ---- the request ----------------------------------------------------------------------------- */

/* Returns its length, REQUEST_MAX or more where path and host are too long. */
static size_t build_request(const struct probe *p, struct question *q)
{
	char host[ADDR_TEXT_MAX];
	const char *name = p->conf.host != NULL ? p->conf.host : addr_format(&p->addr, host);
	uint8_t nonce[16];
	int n;

	if (p->conf.type == CONF_CHECK_HTTP) {
		n = snprintf(q->request, sizeof(q->request),
			     "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: lb-health/%s\r\n"
			     "Connection: close\r\n\r\n",
			     p->conf.path, name, LB_VERSION);
	} else {
		loop_random(p->all->loop, nonce, sizeof(nonce));
		q->upgrade = (struct upgrade){ .kind = UPGRADE_WEBSOCKET };
		accept_key_encode_nonce(nonce, q->upgrade.key);
		n = snprintf(q->request, sizeof(q->request),
			     "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: lb-health/%s\r\n"
			     "Connection: Upgrade\r\nUpgrade: websocket\r\n"
			     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
			     p->conf.path, name, LB_VERSION, q->upgrade.key);
	}
	return n > 0 ? (size_t)n : REQUEST_MAX;
}

static void send_more(struct check *c)
{
	struct iovec iov = { .iov_base = (char *)(uintptr_t)c->out + c->n_sent,
			     .iov_len = c->n_out - c->n_sent };

	loop_send(c->probe->all->loop, c->fd, &iov, 1, SEND_WAIT, start_op(c, OP_SEND));
}

static void send_text(struct check *c, const char *text, size_t n)
{
	c->out = text;
	c->n_out = n;
	c->n_sent = 0;
	send_more(c);
}

static void receive(struct check *c)
{
	loop_recv(c->probe->all->loop, c->fd, BUF_SMALL_BYTES, BUF_SMALL, start_op(c, OP_RECV));
}

/* A masked Close frame, status 1000 (RFC 6455, 5.5.1). */
static void send_close(struct check *c)
{
	struct ws_head h = { .len = 2, .opcode = WS_CLOSE, .is_fin = true, .is_masked = true };
	uint8_t *out = (uint8_t *)c->close;

	c->says_close = false;
	loop_random(c->probe->all->loop, h.mask, sizeof(h.mask));
	size_t n = ws_head_build(&h, out);
	out[n] = 1000 >> 8;
	out[n + 1] = 1000 & 0xff;
	ws_mask(out + n, 2, h.mask, 0);
	send_text(c, c->close, n + 2);
}

/* ---- lingering ------------------------------------------------------------------------------- */

static void drop(struct check *c, size_t n)
{
	c->n_dropped += n;
	if (c->n_dropped > LINGER_BYTES)
		end_check(c, BY_RESET);
	else if (!is_in_flight(c, OP_RECV))
		receive(c);
}

/* What was asked is needed as long as it is being sent. */
static void drop_question(struct check *c)
{
	if (is_in_flight(c, OP_SEND) && c->out != c->close)
		return;
	free(c->question);
	c->question = NULL;
}

/* The verdict has fallen, and the backend is to close. `n` bytes came behind the head. */
static void linger(struct check *c, size_t n)
{
	if (c->phase == ENDING) /* removed by whom we told */
		return;
	c->phase = LINGERING;
	if (c->says_close && !is_in_flight(c, OP_SEND))
		send_close(c);
	drop_question(c);
	drop(c, n);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void judge_status(struct check *c, bool is_ok)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "%s%u in %.1fms", is_ok ? "" : "status ",
		       c->question->head.status, elapsed_ms(c));
	report(c, is_ok, text);
}

static void judge_answer(struct check *c)
{
	const struct conf_health *conf = &c->probe->conf;
	const struct question *q = c->question;

	if (conf->type == CONF_CHECK_HTTP) {
		judge_status(c, q->head.status >= conf->status_min &&
					q->head.status <= conf->status_max);
		return;
	}
	const char *why = NULL;
	if (q->head.status == 101)
		why = upgrade_judge_101(&q->upgrade, &q->head, q->answer, NULL, NULL);
	if (why != NULL) {
		report_bad(c, "handshake", why);
		return;
	}
	c->says_close = q->head.status == 101;
	judge_status(c, q->head.status == 101);
}

/* Drops interim responses (RFC 9110, 15.2): only what follows them is an answer; but for 101. */
static enum http1_verdict parse_answer(struct question *q)
{
	for (;;) {
		enum http1_verdict v = http1_parse(&q->head, q->answer, q->n_answer);
		if (v != HTTP1_OK || q->head.status >= 200 || q->head.status == 101)
			return v;
		q->n_answer -= q->head.head_len;
		memmove(q->answer, q->answer + q->head.head_len, q->n_answer);
		http1_init_response(&q->head);
	}
}

static void take_answer(struct check *c, const struct completion *done)
{
	struct question *q = c->question;

	if (done->res <= 0) {
		fail(c, "response", done->res == 0 ? "closed" : strerror(-done->res));
		return;
	}
	/* A head that was not whole yet had at most HTTP1_HEAD_MAX bytes. */
	LB_ASSERT((size_t)done->res <= ANSWER_MAX - q->n_answer);
	memcpy(q->answer + q->n_answer, done->buf->data, (size_t)done->res);
	q->n_answer += (size_t)done->res;

	enum http1_verdict v = parse_answer(q);
	if (v == HTTP1_MORE) {
		if (!done->more)
			receive(c);
		return;
	}
	if (v == HTTP1_OK) {
		judge_answer(c);
		linger(c, q->n_answer - q->head.head_len);
	} else {
		report_bad(c, "response", q->head.why != NULL ? q->head.why : "too long");
		linger(c, q->n_answer);
	}
}

/* ---- connecting ------------------------------------------------------------------------------ */

/* From the next local address. Returns 0, or a negative errno: nothing is in flight then. */
static int start_connect(struct check *c)
{
	struct probe *p = c->probe;
	struct loop *l = p->all->loop;
	const struct addr *from = NULL;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&p->addr, &sa);

	if (p->n_sources > 0)
		from = &p->sources[p->next_source++ % p->n_sources];
	c->n_sources_tried++;
	c->fd = sock_for_connect(l, &p->addr, from, p->conf.timeout_ms);
	if (c->fd < 0)
		return c->fd;
	loop_connect(l, c->fd, (struct sockaddr *)&sa, len, start_op(c, OP_CONNECT));
	return 0;
}

/* lb, or its machine, has run out. */
static bool is_own_shortage(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

static void connect_failed(struct check *c, int error)
{
	const struct probe *p = c->probe;

	/* Another source may have ports where this one has none. */
	while (error == -EADDRNOTAVAIL && c->n_sources_tried < p->n_sources) {
		if (c->fd >= 0)
			loop_close(p->all->loop, c->fd);
		error = start_connect(c);
		if (error == 0)
			return;
	}
	if (error == -EADDRNOTAVAIL)
		give_up(c, "no check", "no local port is left");
	else if (is_own_shortage(error))
		give_up(c, "no check", strerror(-error));
	else
		fail(c, "connect", strerror(-error));
}

static void ask(struct check *c)
{
	struct question *q = malloc(sizeof(*q));

	if (q == NULL) {
		give_up(c, "no check", strerror(ENOMEM));
		return;
	}
	c->question = q;
	q->n_answer = 0;
	http1_init_response(&q->head);
	size_t n = build_request(c->probe, q);
	if (n >= REQUEST_MAX) {
		fail(c, "request", "path and host are too long");
		return;
	}
	c->phase = ASKING;
	send_text(c, q->request, n);
	receive(c);
}

/* ---- completions ----------------------------------------------------------------------------- */

static void on_connected(struct check *c, int res)
{
	char text[64];

	if (res < 0) {
		connect_failed(c, res);
	} else if (c->probe->conf.type == CONF_CHECK_TCP) {
		end_check(c, BY_RESET);
		(void)snprintf(text, sizeof(text), "connected in %.1fms", elapsed_ms(c));
		report(c, true, text);
	} else {
		ask(c);
	}
}

static void on_sent(struct check *c, int res)
{
	if (res < 0) {
		if (c->phase == LINGERING)
			end_check(c, BY_FIN);
		else
			fail(c, "send", strerror(-res));
		return;
	}
	c->n_sent += (size_t)res;
	if (c->n_sent < c->n_out)
		send_more(c);
	else if (c->says_close && c->phase == LINGERING)
		send_close(c);
	if (c->phase == LINGERING)
		drop_question(c);
}

static void on_received(struct check *c, const struct completion *done)
{
	if (done->res == -ENOBUFS)
		receive(c);
	else if (c->phase == ASKING)
		take_answer(c, done);
	else if (done->res > 0)
		drop(c, (size_t)done->res);
	else
		end_check(c, BY_FIN);
}

static void on_completion(void *arg, const struct completion *done)
{
	struct probes *all = arg;
	struct check *c = slab_find(all->checks, tag_handle(done->tag));
	unsigned op = tag_kind(done->tag);

	LB_ASSERT(c != NULL && is_in_flight(c, op));
	if (!done->more)
		c->in_flight &= (uint8_t) ~(1u << op);
	if (c->phase != ENDING) {
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
	start_due(all);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void on_timeout(struct timer *t, void *arg)
{
	struct check *c = container_of(t, struct check, timeout);
	struct probes *all = c->probe->all;
	bool has_verdict = c->phase == LINGERING;
	char text[64];

	(void)arg;
	end_check(c, BY_RESET);
	if (!has_verdict) {
		(void)snprintf(text, sizeof(text), "timeout after %ums", c->probe->conf.timeout_ms);
		report(c, false, text);
	}
	settle(c);
	start_due(all);
}

static void start(struct probe *p)
{
	struct probes *all = p->all;
	struct check *c = slab_reserve(all->checks, 1) == 0 ? slab_get(all->checks) : NULL;

	if (c == NULL) {
		all->ops->on_none(all->ops_arg, p->target, "no check: out of memory");
		return;
	}
	*c = (struct check){
		.probe = p,
		.phase = CONNECTING,
		.fd = -1,
		.start_ns = loop_now_ns(all->loop),
	};
	list_add_tail(&p->checks, &c->link);
	p->n_checks++;
	p->current = c;
	timer_init(&c->timeout, on_timeout);
	loop_timer_start(all->loop, &c->timeout, p->conf.timeout_ms);
	int r = start_connect(c);
	if (r < 0) {
		connect_failed(c, r);
		settle(c);
	}
}

static bool has_place(const struct probes *all)
{
	return slab_n_used(all->checks) < all->max_checks;
}

/* Starts the checks that have waited longest, while there are places. */
static void start_due(struct probes *all)
{
	while (!list_is_empty(&all->due) && has_place(all)) {
		struct probe *p = list_entry(all->due.next, struct probe, due);

		list_del(&p->due);
		if (!p->is_paused && p->current == NULL)
			start(p);
	}
}

/* Returns false where each is being ended already. */
static bool end_oldest(struct probe *p)
{
	list_for_each(it, &p->checks)
	{
		struct check *c = list_entry(it, struct check, link);
		if (c->phase != ENDING) {
			end_check(c, BY_RESET);
			return true;
		}
	}
	return false;
}

static void on_next(struct timer *t, void *arg)
{
	struct probe *p = container_of(t, struct probe, next);
	/* A check without a verdict is longer than its interval: the next one waits for a turn. */
	bool is_due = !p->is_paused && p->current == NULL;

	(void)arg;
	if (is_due && p->n_checks >= MAX_CHECKS) {
		(void)end_oldest(p);
		loop_timer_start(p->all->loop, &p->next, 1); /* it is gone in a turn or two */
		return;
	}
	loop_timer_start(p->all->loop, &p->next, p->conf.interval_ms);
	if (is_due && has_place(p->all))
		start(p);
	else if (is_due && !list_is_linked(&p->due))
		list_add_tail(&p->all->due, &p->due);
}

/* ---- the set --------------------------------------------------------------------------------- */

#define FIRST_BUCKETS 64u

static struct list *buckets_new(size_t n)
{
	struct list *b = calloc(n, sizeof(*b));

	LB_ASSERT(n >= FIRST_BUCKETS && (n & (n - 1)) == 0);
	for (size_t i = 0; b != NULL && i < n; i++)
		list_init(&b[i]);
	return b;
}

static struct list *bucket_of(const struct probes *all, const void *target)
{
	return &all->bucket[hash_mix((uintptr_t)target, 0) & (all->n_buckets - 1)];
}

/* Without memory the buckets stay as they are, and finding takes longer. */
static void grow_buckets(struct probes *all)
{
	struct list *old = all->bucket, *more;

	if (slab_n_used(all->slab) <= all->n_buckets)
		return;
	more = buckets_new(2 * all->n_buckets);
	if (more == NULL)
		return;
	all->bucket = more;
	all->n_buckets *= 2;
	list_for_each(it, &all->all)
	{
		struct probe *p = list_entry(it, struct probe, link);
		list_del(&p->same);
		list_add_tail(bucket_of(all, p->target), &p->same);
	}
	free(old);
}

struct probes *probes_new(struct loop *loop, unsigned class_id, const struct probe_ops *ops,
			  void *ops_arg)
{
	struct probes *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->loop = loop;
	p->class_id = class_id;
	p->ops = ops;
	p->ops_arg = ops_arg;
	list_init(&p->all);
	list_init(&p->due);
	p->max_checks = UINT32_MAX;
	p->n_buckets = FIRST_BUCKETS;
	p->bucket = buckets_new(FIRST_BUCKETS);
	p->slab = slab_new("probe", sizeof(struct probe), 1u << 20);
	p->checks = slab_new("check", sizeof(struct check), 1u << 22);
	if (p->bucket == NULL || p->slab == NULL || p->checks == NULL)
		return probes_free(p);
	loop_set_handler(loop, class_id, on_completion, p);
	return p;
}

static bool copy_conf(struct conf_health *to, const struct conf_health *from)
{
	char *path = strdup(from->path);
	char *host = from->host != NULL ? strdup(from->host) : NULL;

	if (path == NULL || (from->host != NULL && host == NULL)) {
		free(path);
		free(host);
		return false;
	}
	free(to->path);
	free(to->host);
	*to = *from;
	to->path = path;
	to->host = host;
	return true;
}

/* Those of the target's own family, as a connection's are chosen. */
static bool copy_sources(struct probe *p, const struct probe_target *t)
{
	struct addr *own = NULL;
	size_t n = 0;

	if (t->n_sources > 0) {
		own = calloc(t->n_sources, sizeof(*own));
		if (own == NULL)
			return false;
	}
	for (size_t i = 0; i < t->n_sources; i++)
		if (t->sources[i].family == p->addr.family)
			own[n++] = t->sources[i];
	free(p->sources);
	p->sources = own;
	p->n_sources = n;
	return true;
}

static struct probe *find(const struct probes *all, const void *target)
{
	list_for_each(it, bucket_of(all, target))
	{
		struct probe *p = list_entry(it, struct probe, same);
		if (p->target == target && !p->is_removed)
			return p;
	}
	return NULL;
}

static void end_checks(struct probe *p)
{
	list_for_each(it, &p->checks) end_check(list_entry(it, struct check, link), BY_FIN);
}

static void remove_probe(struct probe *p)
{
	p->is_removed = true;
	list_del(&p->due);
	loop_timer_stop(p->all->loop, &p->next);
	end_checks(p);
	if (p->n_checks == 0)
		free_probe(p);
}

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Whether a check that runs under one is a check of the other. */
static bool is_same_check(const struct conf_health *a, const struct conf_health *b)
{
	return a->type == b->type && a->interval_ms == b->interval_ms &&
	       a->timeout_ms == b->timeout_ms && a->status_min == b->status_min &&
	       a->status_max == b->status_max && is_same_text(a->path, b->path) &&
	       is_same_text(a->host, b->host);
}

/* A target that was there before. One that is checked otherwise from now on begins anew, soon. */
static bool update(struct probe *p, const struct probe_target *t, uint64_t delay_ms)
{
	bool is_same = is_same_check(&p->conf, t->conf);

	if (!copy_sources(p, t) || (!is_same && !copy_conf(&p->conf, t->conf)))
		return false;
	health_configure(&p->health, t->conf->rise, t->conf->fall);
	if (!is_same)
		loop_timer_start(p->all->loop, &p->next, delay_ms);
	if (!is_same || t->is_paused)
		end_checks(p);
	return true;
}

static struct probe *add(struct probes *all, const struct probe_target *t)
{
	struct probe *p = NULL;

	if (slab_reserve(all->slab, 1) == 0)
		p = slab_get(all->slab);
	if (p == NULL)
		return NULL;
	p->all = all;
	p->target = t->arg;
	p->addr = t->addr;
	p->next_source = slab_n_used(all->slab); /* not all of them begin at the same one */
	list_init(&p->checks);
	list_init(&p->due);
	timer_init(&p->next, on_next);
	list_add_tail(&all->all, &p->link);
	list_add_tail(bucket_of(all, t->arg), &p->same);
	if (!copy_conf(&p->conf, t->conf) || !copy_sources(p, t)) {
		free_probe(p);
		return NULL;
	}
	health_init(&p->health, p->conf.rise, p->conf.fall);
	grow_buckets(all);
	return p;
}

void probes_limit(struct probes *p, uint32_t max_checks)
{
	p->max_checks = max_checks > 0 ? max_checks : 1;
	start_due(p);
}

int probes_set(struct probes *all, const struct probe_target *targets, size_t n)
{
	/* Those that are removed end their last checks beside the new ones. */
	size_t n_ops = LOOP_OPS_MIN + N_OPS * MAX_CHECKS * (n + slab_n_used(all->slab));
	int result = loop_reserve(all->loop, n_ops);
	bool has_room = result == 0;

	list_for_each(it, &all->all) list_entry(it, struct probe, link)->is_wanted = false;
	for (size_t i = 0; i < n; i++) {
		const struct probe_target *t = &targets[i];
		struct probe *p = find(all, t->arg);
		uint64_t delay_ms = health_first_delay_ms(i, n, t->conf->interval_ms);

		if (p == NULL) {
			p = has_room ? add(all, t) : NULL;
			if (p == NULL) {
				result = -ENOMEM;
				continue;
			}
			loop_timer_start(all->loop, &p->next, delay_ms);
		} else if (!update(p, t, delay_ms)) {
			result = -ENOMEM;
		}
		p->is_paused = t->is_paused;
		p->is_wanted = true;
	}
	list_for_each(it, &all->all)
	{
		struct probe *p = list_entry(it, struct probe, link);
		if (!p->is_wanted && !p->is_removed)
			remove_probe(p);
	}
	return result;
}

bool probes_close(struct probes *all)
{
	list_for_each(it, &all->all)
	{
		struct probe *p = list_entry(it, struct probe, link);
		if (!p->is_removed)
			remove_probe(p);
	}
	return !list_is_empty(&all->all);
}

struct probes *probes_free(struct probes *p)
{
	if (p == NULL)
		return NULL;
	slab_free(p->slab);
	slab_free(p->checks);
	free(p->bucket);
	free(p);
	return NULL;
}
