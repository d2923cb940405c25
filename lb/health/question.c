/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request of a check, and the verdict on the response. question_init() writes the request; the
 * check's connection sends it and gives what comes back to question_feed(), which parses the head
 * (proto/http1.h) and judges it: the status against the range of the settings, or the handshake
 * against the key (proto/upgrade.h). question_close_frame() writes the end of a tunnel.
 *
 * Thread: main.
 */
#include "health/question.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/accept_key.h"

/* ---- the request ----------------------------------------------------------------------------- */

int question_init(struct question *q, const struct check_spec *spec,
		  const uint8_t nonce[QUESTION_NONCE_BYTES])
{
	const struct conf_health *conf = &spec->conf;
	char text[ADDR_TEXT_MAX];
	const char *host = conf->host != NULL ? conf->host : addr_format(&spec->addr, text);
	int n;

	LB_ASSERT(conf->type == CONF_CHECK_HTTP || conf->type == CONF_CHECK_WEBSOCKET);
	q->type = conf->type;
	q->status_min = conf->status_min;
	q->status_max = conf->status_max;
	q->n_answer = 0;
	http1_init_response(&q->head);
	if (conf->type == CONF_CHECK_HTTP) {
		n = snprintf(q->request, sizeof(q->request),
			     "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: lb-health/%s\r\n"
			     "Connection: close\r\n\r\n",
			     conf->path, host, LB_VERSION);
	} else {
		q->upgrade = (struct upgrade){ .kind = UPGRADE_WEBSOCKET };
		accept_key_encode_nonce(nonce, q->upgrade.key);
		n = snprintf(q->request, sizeof(q->request),
			     "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: lb-health/%s\r\n"
			     "Connection: Upgrade\r\nUpgrade: websocket\r\n"
			     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
			     conf->path, host, LB_VERSION, q->upgrade.key);
	}
	if (n <= 0 || (size_t)n >= sizeof(q->request))
		return -EMSGSIZE;
	q->n_request = (size_t)n;
	return 0;
}

size_t question_close_frame(const uint8_t mask[4], uint8_t out[QUESTION_CLOSE_MAX])
{
	struct ws_head h = { .len = 2, .opcode = WS_CLOSE, .is_fin = true, .is_masked = true };

	memcpy(h.mask, mask, sizeof(h.mask));
	size_t n = ws_head_build(&h, out);
	LB_ASSERT(n + 2 <= QUESTION_CLOSE_MAX);
	out[n] = 1000 >> 8;
	out[n + 1] = 1000 & 0xff;
	ws_mask(out + n, 2, h.mask, 0);
	return n + 2;
}

/* ---- the answer ------------------------------------------------------------------------------ */

/*
 * Parses the answer. Drops interim responses (RFC 9110, 15.2), because the final response follows
 * them. A 101 is an answer.
 */
static enum http1_verdict parse(struct question *q)
{
	for (;;) {
		enum http1_verdict v = http1_parse(&q->head, q->answer, q->n_answer);

		if (v != HTTP1_OK || q->head.status >= 200 || q->head.status == 101)
			return v;
		LB_ASSERT(q->head.head_len <= q->n_answer);
		q->n_answer -= q->head.head_len;
		memmove(q->answer, q->answer + q->head.head_len, q->n_answer);
		http1_init_response(&q->head);
	}
}

static struct answer wrong(const char *what, const char *why)
{
	return (struct answer){ .kind = ANSWER_WRONG, .what = what, .why = why };
}

static struct answer judge_http(const struct question *q)
{
	unsigned status = q->head.status;
	bool is_good = status >= q->status_min && status <= q->status_max;

	return (struct answer){ .kind = is_good ? ANSWER_GOOD : ANSWER_STATUS, .status = status };
}

static struct answer judge_websocket(const struct question *q)
{
	struct answer a = { .kind = ANSWER_STATUS, .status = q->head.status };

	if (q->head.status != 101)
		return a;
	const char *why = upgrade_judge_101(&q->upgrade, &q->head, q->answer, NULL, NULL);
	if (why != NULL)
		return wrong("handshake", why);
	a.kind = ANSWER_GOOD;
	a.is_tunnel = true;
	return a;
}

struct answer question_feed(struct question *q, const uint8_t *p, size_t n)
{
	struct answer a;

	LB_ASSERT(n <= sizeof(q->answer) - q->n_answer);
	memcpy(q->answer + q->n_answer, p, n);
	q->n_answer += n;

	switch (parse(q)) {
	case HTTP1_MORE:
		LB_ASSERT(q->n_answer < HTTP1_HEAD_MAX); /* there is room for one more call */
		return (struct answer){ .kind = ANSWER_MORE };
	case HTTP1_OK:
		a = q->type == CONF_CHECK_HTTP ? judge_http(q) : judge_websocket(q);
		a.n_behind = q->n_answer - q->head.head_len;
		return a;
	case HTTP1_BAD:
	case HTTP1_TOO_LARGE:
	case HTTP1_BAD_VERSION:
	case HTTP1_NOT_IMPLEMENTED: break;
	}
	a = wrong("response", q->head.why != NULL ? q->head.why : "too long");
	a.n_behind = q->n_answer;
	return a;
}
