/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A check is one connection:
 *
 *   connect -> (tcp) done
 *           -> send request -> receive head -> status is right (http)         -> done
 *                                           -> 101 with the right key (websocket)
 *                                              -> send a Close frame, await theirs -> done
 *
 * One timer covers it all. The descriptor is closed when each operation's last completion was seen.
 *
 * Thread: main.
 */
#include "proxy/probe.h"

#include <errno.h>
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
#include "util/list.h"
#include "util/slab.h"

#define REQUEST_MAX 1024
#define ANSWER_MAX (HTTP1_HEAD_MAX + BUF_SMALL_BYTES) /* a head, and what came with its end */
#define CLOSE_WAIT_MS 1000                            /* for the backend's own Close frame */

enum { OP_CONNECT, OP_SEND, OP_RECV, N_OPS };

enum probe_phase { IDLE, CONNECTING, ASKING, CLOSING, ENDING };

struct probe {
	struct list link; /* probes->all */
	struct probes *all;
	void *target;
	struct addr addr;
	struct conf_health conf; /* a copy; owns path and host */
	struct health health;
	bool is_paused;
	bool is_wanted;  /* while probes_set() runs */
	bool is_removed; /* freed when nothing is in flight */

	/* one check */
	enum probe_phase phase;
	int fd;
	uint8_t in_flight; /* 1u << OP_ */
	bool said_close;   /* the request is our Close frame */
	uint64_t start_ns;
	struct timer next, timeout;
	struct upgrade upgrade;
	struct ws_track frames; /* of theirs, behind the 101 */
	struct http1_head head;
	size_t n_request, n_sent;
	char request[REQUEST_MAX];
	uint8_t *answer; /* owns: ANSWER_MAX bytes from the request to the end of the check */
	size_t n_answer;
};

struct probes {
	struct loop *loop;
	unsigned class;
	const struct probe_ops *ops;
	void *ops_arg;
	struct slab *slab; /* owns */
	struct list all;
};

static void start(struct probe *p);

/* ---- operations ------------------------------------------------------------------------------ */

static op_tag tag_of(const struct probe *p, unsigned op)
{
	return tag_make(p->all->class, op, slab_handle_of(p->all->slab, p));
}

static op_tag start_op(struct probe *p, unsigned op)
{
	p->in_flight |= (uint8_t)(1u << op);
	return tag_of(p, op);
}

static void free_probe(struct probe *p)
{
	struct loop *l = p->all->loop;

	loop_timer_stop(l, &p->next);
	loop_timer_stop(l, &p->timeout);
	list_del(&p->link);
	free(p->conf.path);
	free(p->conf.host);
	slab_put(p->all->slab, p);
}

/* Nothing is in flight: the check is over. */
static void settle(struct probe *p)
{
	if (p->phase != ENDING || p->in_flight != 0)
		return;
	if (p->fd >= 0)
		loop_close(p->all->loop, p->fd);
	p->fd = -1;
	free(p->answer);
	p->answer = NULL;
	p->phase = IDLE;
	if (p->is_removed)
		free_probe(p);
}

static void end_check(struct probe *p)
{
	struct loop *l = p->all->loop;

	loop_timer_stop(l, &p->timeout);
	if (p->phase == IDLE)
		return;
	p->phase = ENDING;
	for (unsigned op = OP_CONNECT; op <= OP_RECV; op++)
		if (p->in_flight & 1u << op)
			loop_cancel(l, p->fd, tag_of(p, op));
}

static void report(struct probe *p, bool is_ok, const char *text)
{
	const struct probes *all = p->all;
	bool is_first = !p->health.is_known;

	all->ops->on_result(all->ops_arg, p->target, is_ok, text);
	if (health_result(&p->health, is_ok))
		all->ops->on_verdict(all->ops_arg, p->target, p->health.is_up, is_first, text);
}

static double elapsed_ms(const struct probe *p)
{
	return (double)(loop_now_ns(p->all->loop) - p->start_ns) / 1e6;
}

static void fail(struct probe *p, const char *what, const char *why)
{
	char text[96];

	(void)snprintf(text, sizeof(text), "%s%s%s", what, why != NULL ? ": " : "",
		       why != NULL ? why : "");
	end_check(p);
	report(p, false, text);
}

static void succeed(struct probe *p)
{
	char text[96];

	if (p->conf.type == CONF_CHECK_TCP)
		(void)snprintf(text, sizeof(text), "connected in %.1fms", elapsed_ms(p));
	else
		(void)snprintf(text, sizeof(text), "%u in %.1fms", p->head.status, elapsed_ms(p));
	report(p, true, text);
}

/* ---- the request ----------------------------------------------------------------------------- */

/* False: path and host are too long. */
static bool build_request(struct probe *p)
{
	char host[ADDR_TEXT_MAX];
	const char *name = p->conf.host != NULL ? p->conf.host : addr_format(&p->addr, host);
	int n;

	if (p->conf.type == CONF_CHECK_HTTP) {
		n = snprintf(p->request, sizeof(p->request),
			     "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: lb-health/%s\r\n"
			     "Connection: close\r\n\r\n",
			     p->conf.path, name, LB_VERSION);
	} else {
		uint8_t nonce[16];
		loop_random(p->all->loop, nonce, sizeof(nonce));
		p->upgrade = (struct upgrade){ .kind = UPGRADE_WEBSOCKET };
		accept_key_encode_nonce(nonce, p->upgrade.key);
		n = snprintf(p->request, sizeof(p->request),
			     "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: lb-health/%s\r\n"
			     "Connection: Upgrade\r\nUpgrade: websocket\r\n"
			     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
			     p->conf.path, name, LB_VERSION, p->upgrade.key);
	}
	p->n_request = (size_t)n;
	p->n_sent = 0;
	p->n_answer = 0;
	p->said_close = false;
	return n > 0 && p->n_request < sizeof(p->request);
}

static void send_more(struct probe *p)
{
	struct iovec iov = { .iov_base = p->request + p->n_sent,
			     .iov_len = p->n_request - p->n_sent };

	loop_send(p->all->loop, p->fd, &iov, 1, false, start_op(p, OP_SEND));
}

static void receive(struct probe *p)
{
	loop_recv(p->all->loop, p->fd, BUF_SMALL_BYTES, BUF_SMALL, start_op(p, OP_RECV));
}

/* A masked Close frame, status 1000 (RFC 6455, 5.5.1). */
static void send_close(struct probe *p)
{
	struct ws_head h = { .len = 2, .opcode = WS_CLOSE, .is_fin = true, .is_masked = true };
	uint8_t out[WS_HEAD_MAX];

	loop_random(p->all->loop, h.mask, sizeof(h.mask));
	size_t n = ws_head_build(&h, out);
	memcpy(p->request, out, n);
	p->request[n] = (char)(1000 >> 8);
	p->request[n + 1] = (char)(1000 & 0xff);
	ws_mask((uint8_t *)p->request + n, 2, h.mask, 0);
	p->n_request = n + 2;
	p->n_sent = 0;
	p->said_close = true;
	send_more(p);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void judge_http(struct probe *p)
{
	char text[64];

	if (p->head.status >= p->conf.status_min && p->head.status <= p->conf.status_max) {
		succeed(p);
		end_check(p);
		return;
	}
	(void)snprintf(text, sizeof(text), "status %u in %.1fms", p->head.status, elapsed_ms(p));
	fail(p, text, NULL);
}

static void judge_websocket(struct probe *p)
{
	char text[64];

	if (p->head.status != 101) {
		(void)snprintf(text, sizeof(text), "status %u in %.1fms", p->head.status,
			       elapsed_ms(p));
		fail(p, text, NULL);
		return;
	}
	const char *why = upgrade_judge_101(&p->upgrade, &p->head, p->answer);
	if (why != NULL) {
		fail(p, "handshake", why);
		return;
	}
	succeed(p);
	if (p->phase == ENDING) /* removed by whom we told */
		return;
	p->phase = CLOSING;
	loop_timer_start(p->all->loop, &p->timeout, CLOSE_WAIT_MS);
	ws_track_init(&p->frames, false);
	if (!(p->in_flight & 1u << OP_SEND))
		send_close(p);
}

/* Behind the 101: a greeting may come before their Close frame. */
static void take_frames(struct probe *p, const uint8_t *bytes, size_t n)
{
	(void)ws_track_feed(&p->frames, bytes, n);
	if (ws_track_saw_close(&p->frames) || ws_track_is_broken(&p->frames))
		end_check(p);
	else if (!(p->in_flight & 1u << OP_RECV))
		receive(p);
}

/* Drops interim responses (RFC 9110, 15.2): only what follows them is an answer; but for 101. */
static enum http1_verdict parse_answer(struct probe *p)
{
	for (;;) {
		enum http1_verdict v = http1_parse(&p->head, p->answer, p->n_answer);
		if (v != HTTP1_OK || p->head.status >= 200 || p->head.status == 101)
			return v;
		p->n_answer -= p->head.head_len;
		memmove(p->answer, p->answer + p->head.head_len, p->n_answer);
		http1_init_response(&p->head);
	}
}

static void take_answer(struct probe *p, const struct completion *c)
{
	if (c->res <= 0) {
		fail(p, "response", c->res == 0 ? "closed" : strerror(-c->res));
		return;
	}
	/* A head that was not whole yet had at most HTTP1_HEAD_MAX bytes. */
	LB_ASSERT((size_t)c->res <= ANSWER_MAX - p->n_answer);
	memcpy(p->answer + p->n_answer, c->buf->data, (size_t)c->res);
	p->n_answer += (size_t)c->res;

	enum http1_verdict v = parse_answer(p);
	if (v == HTTP1_MORE) {
		if (!c->more)
			receive(p);
	} else if (v != HTTP1_OK) {
		fail(p, "response", p->head.why != NULL ? p->head.why : "too long");
	} else if (p->conf.type == CONF_CHECK_HTTP) {
		judge_http(p);
	} else {
		judge_websocket(p);
		if (p->phase == CLOSING)
			take_frames(p, p->answer + p->head.head_len,
				    p->n_answer - p->head.head_len);
	}
}

/* ---- completions ----------------------------------------------------------------------------- */

static void on_connected(struct probe *p, int res)
{
	if (res < 0) {
		fail(p, "connect", strerror(-res));
	} else if (p->conf.type == CONF_CHECK_TCP) {
		succeed(p);
		end_check(p);
	} else {
		p->answer = malloc(ANSWER_MAX);
		if (p->answer == NULL || !build_request(p)) {
			fail(p, "request",
			     p->answer == NULL ? strerror(ENOMEM) : "path and host are too long");
			return;
		}
		p->phase = ASKING;
		http1_init_response(&p->head);
		send_more(p);
		receive(p);
	}
}

static void on_sent(struct probe *p, int res)
{
	if (res < 0) {
		if (p->phase == CLOSING)
			end_check(p);
		else
			fail(p, "send", strerror(-res));
		return;
	}
	p->n_sent += (size_t)res;
	if (p->n_sent < p->n_request)
		send_more(p);
	else if (p->phase == CLOSING && !p->said_close)
		send_close(p);
}

static void on_received(struct probe *p, const struct completion *c)
{
	if (c->res == -ENOBUFS)
		receive(p);
	else if (p->phase == ASKING)
		take_answer(p, c);
	else if (c->res > 0)
		take_frames(p, c->buf->data, (size_t)c->res);
	else
		end_check(p);
}

static void on_completion(void *arg, const struct completion *c)
{
	struct probes *all = arg;
	struct probe *p = slab_find(all->slab, tag_handle(c->tag));
	unsigned op = tag_kind(c->tag);

	LB_ASSERT(p != NULL && p->in_flight & 1u << op);
	if (!c->more)
		p->in_flight &= (uint8_t) ~(1u << op);
	if (p->phase != ENDING) {
		if (op == OP_CONNECT)
			on_connected(p, c->res);
		else if (op == OP_SEND)
			on_sent(p, c->res);
		else
			on_received(p, c);
	}
	if (c->buf != NULL)
		buf_put(all->loop->bufs, c->buf);
	settle(p);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void on_timeout(struct timer *t, void *arg)
{
	struct probe *p = container_of(t, struct probe, timeout);
	char text[64];

	(void)arg;
	if (p->phase == CLOSING) {
		end_check(p); /* was healthy, only did not say goodbye */
	} else {
		(void)snprintf(text, sizeof(text), "timeout after %ums", p->conf.timeout_ms);
		fail(p, text, NULL);
	}
	settle(p);
}

static void on_next(struct timer *t, void *arg)
{
	struct probe *p = container_of(t, struct probe, next);

	(void)arg;
	/* One that was given up is gone in a turn or two. */
	loop_timer_start(p->all->loop, &p->next, p->phase == ENDING ? 1 : p->conf.interval_ms);
	/* A check that still runs is longer than its interval: the next one waits for a turn. */
	if (!p->is_paused && p->phase == IDLE)
		start(p);
}

static void start(struct probe *p)
{
	struct loop *l = p->all->loop;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&p->addr, &sa);

	p->start_ns = loop_now_ns(l);
	p->fd = sock_for_connect(l, &p->addr, NULL, p->conf.timeout_ms);
	if (p->fd < 0) {
		p->phase = ENDING;
		fail(p, "socket", strerror(-p->fd));
		settle(p);
		return;
	}
	p->phase = CONNECTING;
	loop_timer_start(l, &p->timeout, p->conf.timeout_ms);
	loop_connect(l, p->fd, (struct sockaddr *)&sa, len, start_op(p, OP_CONNECT));
}

/* ---- the set --------------------------------------------------------------------------------- */

struct probes *probes_new(struct loop *loop, unsigned class, const struct probe_ops *ops,
			  void *ops_arg)
{
	struct probes *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->loop = loop;
	p->class = class;
	p->ops = ops;
	p->ops_arg = ops_arg;
	list_init(&p->all);
	p->slab = slab_new("probe", sizeof(struct probe), 1u << 20);
	if (p->slab == NULL) {
		free(p);
		return NULL;
	}
	loop_set_handler(loop, class, on_completion, p);
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

static struct probe *find(struct probes *all, const void *target)
{
	list_for_each(it, &all->all)
	{
		struct probe *p = list_entry(it, struct probe, link);
		if (p->target == target && !p->is_removed)
			return p;
	}
	return NULL;
}

static void remove_probe(struct probe *p)
{
	p->is_removed = true;
	loop_timer_stop(p->all->loop, &p->next);
	end_check(p);
	if (p->phase == IDLE)
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

	if (!copy_conf(&p->conf, t->conf))
		return false;
	health_configure(&p->health, p->conf.rise, p->conf.fall);
	if (!is_same)
		loop_timer_start(p->all->loop, &p->next, delay_ms);
	if (!is_same || t->is_paused)
		end_check(p);
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
	p->fd = -1;
	timer_init(&p->next, on_next);
	timer_init(&p->timeout, on_timeout);
	list_add_tail(&all->all, &p->link);
	if (!copy_conf(&p->conf, t->conf)) {
		free_probe(p);
		return NULL;
	}
	health_init(&p->health, p->conf.rise, p->conf.fall);
	return p;
}

int probes_set(struct probes *all, const struct probe_target *targets, size_t n)
{
	/* Those that are removed end their last checks beside the new ones. */
	size_t n_ops = LOOP_OPS_MIN + N_OPS * (n + slab_n_used(all->slab));
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
	free(p);
	return NULL;
}
