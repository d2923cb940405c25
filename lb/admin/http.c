/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the HTTP admin port. When the verdict says that the request's head is whole,
 * http_answer() looks up the path of the request (put_resource()). Any other verdict gets an error
 * as the answer. put() writes an answer, with its head and its body.
 *
 * /healthz asks admin_ops.is_accepting(). /metrics and /stats take a snapshot (put_figures()),
 * which prom.c or format.c writes. When there is no snapshot, or no memory for the body, the answer
 * is a 503.
 *
 * Relies on admin.c to send the answer and to close the connection after it.
 */
#include "admin/http.h"

#include <errno.h>

#include "admin/format.h"
#include "admin/prom.h"

/*
 * Whether an answer has its body. The answer to a HEAD has no body, only the field with the body's
 * length.
 */
enum body { BODY_SENT, BODY_OMITTED };

/* A function that writes the figures of a snapshot into a body. False when memory is short. */
typedef bool (*figures_fn)(const struct status *st, struct text *body);

struct answer {
	int status;
	const char *phrase;
	const char *type;  /* media type of the body; NULL: plain text */
	const char *extra; /* one more field line with its CRLF, or NULL */
};

/* Adds a whole answer. */
static void put(struct text *out, enum body mode, const struct answer *a, struct slice body)
{
	LB_ASSERT(a->status >= 200 && a->status <= 599 && out->n == 0);
	text_addf(out,
		  "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
		  "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
		  a->status, a->phrase, a->type != NULL ? a->type : "text/plain; charset=utf-8",
		  body.n, a->extra != NULL ? a->extra : "");
	if (mode == BODY_SENT)
		text_add(out, body);
}

static void put_health(const struct admin_ops *ops, void *arg, enum body mode, struct text *out)
{
	if (ops->is_accepting(arg))
		put(out, mode, &(struct answer){ .status = 200, .phrase = "OK" }, SLICE("ok\n"));
	else
		put(out, mode, &(struct answer){ .status = 503, .phrase = "Service Unavailable" },
		    SLICE("stopping\n"));
}

static bool write_metrics(const struct status *st, struct text *body)
{
	prom_print(st, body);
	return !body->failed;
}

static bool write_stats(const struct status *st, struct text *body)
{
	struct json j = JSON_INIT;

	format_status_json(st, &j);
	text_add(body, text_slice(&j.out));
	text_addf(body, "\n");
	bool is_whole = json_is_ok(&j) && !body->failed;
	json_deinit(&j);
	return is_whole;
}

/* Answers with the figures of a snapshot, or with a 503. */
static void put_figures(const struct admin_ops *ops, void *arg, enum body mode, const char *type,
			figures_fn write, struct text *out)
{
	struct answer a = { .status = 200, .phrase = "OK", .type = type };
	struct status st = { 0 };
	_cleanup_(text_deinit) struct text body = TEXT_INIT;
	int r = ops->status(arg, &st);

	LB_ASSERT(r <= 0);
	if (r == 0 && write(&st, &body))
		put(out, mode, &a, text_slice(&body));
	else
		put(out, mode, &(struct answer){ .status = 503, .phrase = "Service Unavailable" },
		    r == -ESHUTDOWN ? SLICE("stopping\n") : SLICE("out of memory\n"));
	status_deinit(&st);
}

static void put_resource(const struct admin_ops *ops, void *arg, const struct http1_head *head,
			 const uint8_t *buf, struct text *out)
{
	struct slice path = http1_path(head, buf);
	enum body mode = head->method == HTTP1_HEAD ? BODY_OMITTED : BODY_SENT;

	if (slice_eq(path, SLICE("/healthz")))
		put_health(ops, arg, mode, out);
	else if (slice_eq(path, SLICE("/metrics")))
		put_figures(ops, arg, mode, "text/plain; version=0.0.4; charset=utf-8",
			    write_metrics, out);
	else if (slice_eq(path, SLICE("/stats")))
		put_figures(ops, arg, mode, "application/json", write_stats, out);
	else
		put(out, mode, &(struct answer){ .status = 404, .phrase = "Not Found" },
		    SLICE("try /healthz, /metrics or /stats\n"));
}

static void put_wrong_method(struct text *out)
{
	put(out, BODY_SENT,
	    &(struct answer){ .status = 405,
			      .phrase = "Method Not Allowed",
			      .extra = "Allow: GET, HEAD\r\n" },
	    SLICE("only GET and HEAD\n"));
}

void http_answer(const struct admin_ops *ops, void *arg, enum http1_verdict v,
		 const struct http1_head *head, const uint8_t *buf, struct text *out)
{
	switch (v) {
	case HTTP1_OK:
		if (head->method == HTTP1_GET || head->method == HTTP1_HEAD)
			put_resource(ops, arg, head, buf, out);
		else
			put_wrong_method(out);
		break;
	case HTTP1_NOT_IMPLEMENTED: put_wrong_method(out); break;
	case HTTP1_BAD:
		put(out, BODY_SENT, &(struct answer){ .status = 400, .phrase = "Bad Request" },
		    SLICE("not a request lb can read\n"));
		break;
	case HTTP1_MORE:
	case HTTP1_TOO_LARGE:
		put(out, BODY_SENT,
		    &(struct answer){ .status = 431, .phrase = "Request Header Fields Too Large" },
		    SLICE("the request's head is too large\n"));
		break;
	case HTTP1_BAD_VERSION:
		put(out, BODY_SENT,
		    &(struct answer){ .status = 505, .phrase = "HTTP Version Not Supported" },
		    SLICE("HTTP/1.1 only\n"));
		break;
	}
}
