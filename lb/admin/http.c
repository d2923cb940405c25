/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/http.h"

#include <errno.h>

#include "admin/format.h"
#include "admin/prom.h"

struct answer {
	int status;
	const char *phrase;
	const char *type;  /* NULL: plain text */
	const char *extra; /* one more field with its CRLF, or NULL */
};

/* Adds head and body; the length of the body of a HEAD is told, but it is not sent. */
static void put(struct text *out, bool is_head, const struct answer *a, struct slice body)
{
	text_addf(out,
		  "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
		  "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
		  a->status, a->phrase, a->type != NULL ? a->type : "text/plain; charset=utf-8",
		  body.n, a->extra != NULL ? a->extra : "");
	if (!is_head)
		text_add(out, body);
}

static void put_health(const struct admin_ops *ops, void *arg, bool is_head, struct text *out)
{
	if (ops->is_accepting(arg))
		put(out, is_head, &(struct answer){ .status = 200, .phrase = "OK" }, SLICE("ok\n"));
	else
		put(out, is_head,
		    &(struct answer){ .status = 503, .phrase = "Service Unavailable" },
		    SLICE("stopping\n"));
}

static void put_figures(const struct admin_ops *ops, void *arg, bool is_head, bool is_prometheus,
			struct text *out)
{
	struct answer a = { .status = 200, .phrase = "OK" };
	struct status st = { 0 };
	struct text body = TEXT_INIT;
	struct json j = JSON_INIT;
	int r = ops->status(arg, &st);
	bool is_whole = r == 0;

	if (is_whole && is_prometheus) {
		prom_print(&st, &body);
		a.type = "text/plain; version=0.0.4; charset=utf-8";
		is_whole = !body.failed;
	} else if (is_whole) {
		format_status_json(&st, &j);
		text_add(&body, text_slice(&j.out));
		text_addf(&body, "\n");
		a.type = "application/json";
		is_whole = json_is_ok(&j) && !body.failed;
	}
	if (is_whole)
		put(out, is_head, &a, text_slice(&body));
	else
		put(out, is_head,
		    &(struct answer){ .status = 503, .phrase = "Service Unavailable" },
		    r == -ESHUTDOWN ? SLICE("stopping\n") : SLICE("out of memory\n"));
	json_deinit(&j);
	text_deinit(&body);
	status_deinit(&st);
}

static void put_resource(const struct admin_ops *ops, void *arg, const struct http1_head *head,
			 const uint8_t *buf, struct text *out)
{
	struct slice path = http1_path(head, buf);
	bool is_head = head->method == HTTP1_HEAD;

	if (slice_eq(path, SLICE("/healthz")))
		put_health(ops, arg, is_head, out);
	else if (slice_eq(path, SLICE("/metrics")))
		put_figures(ops, arg, is_head, true, out);
	else if (slice_eq(path, SLICE("/stats")))
		put_figures(ops, arg, is_head, false, out);
	else
		put(out, is_head, &(struct answer){ .status = 404, .phrase = "Not Found" },
		    SLICE("try /healthz, /metrics or /stats\n"));
}

static void put_wrong_method(struct text *out)
{
	put(out, false,
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
		put(out, false, &(struct answer){ .status = 400, .phrase = "Bad Request" },
		    SLICE("not a request lb can read\n"));
		break;
	case HTTP1_MORE:
	case HTTP1_TOO_LARGE:
		put(out, false,
		    &(struct answer){ .status = 431, .phrase = "Request Header Fields Too Large" },
		    SLICE("the request's head is too large\n"));
		break;
	case HTTP1_BAD_VERSION:
		put(out, false,
		    &(struct answer){ .status = 505, .phrase = "HTTP Version Not Supported" },
		    SLICE("HTTP/1.1 only\n"));
		break;
	}
}
