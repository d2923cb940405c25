/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heads that lb sends, made from the heads that it received; and lb's own answers.
 *
 * Terms. A field is a name and a value in a head. A hop-by-hop field concerns one connection only,
 * and is not passed on: the fields of is_hop_by_hop(), and those that Connection names. A claim is
 * a field by which a client says where it comes from (Forwarded, X-Forwarded-*); lb replaces it.
 *
 * forward_check() is called first, by the owner of the head. It refuses a Connection that names a
 * field without which the head would mean something else.
 *
 * forward_request() and forward_response() write the new head in the order of its lines. Which
 * fields are left out is decided first, in struct drops, which has a bool for each field
 * (drop_hop_by_hop()). Then come the first line (out_request_line(), out_status_line()), the fields
 * (out_field()), and lb's own fields (out_forwarded(), Connection, Upgrade). Each field is written
 * in one spelling: its name as it came, a colon, a space, its value. Fields that frame the message
 * are written as they were understood.
 *
 * struct out is the buffer that is filled. When something does not fit, out_add() notes it, and
 * out_end() returns -ENOSPC.
 *
 * forward_error() writes an answer of lb's own, for a status and a reason.
 *
 * Relies on http1.h for the parsed head, and on upgrade.h for what the client asked to upgrade to.
 *
 * Thread: any (pure functions).
 */
#include "proto/forward.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* A head cannot have more fields than this, so more names in Connection are an attack. */
#define CONNECTION_NAMES_MAX 100u

/* Which fields are not sent on: field[i] is for field `i` of the head. */
struct drops {
	bool field[HTTP1_FIELDS_MAX];
};

/* ---- a buffer that is filled ----------------------------------------------------------------- */

struct out {
	uint8_t *p; /* borrowed */
	size_t n, cap;
	bool is_full; /* something did not fit */
};

static void out_add(struct out *o, struct slice s)
{
	LB_ASSERT(o->n <= o->cap);
	if (o->cap - o->n < s.n) {
		o->is_full = true;
		return;
	}
	if (s.n != 0)
		memcpy(o->p + o->n, s.p, s.n);
	o->n += s.n;
}

static void out_line(struct out *o, struct slice name, struct slice value)
{
	out_add(o, name);
	out_add(o, value.n > 0 ? SLICE(": ") : SLICE(":"));
	out_add(o, value);
	out_add(o, SLICE("\r\n"));
}

/*
 * Writes field `i` of the head. A length is written without leading zeros, and a transfer coding in
 * lower case.
 */
static void out_field(struct out *o, const struct http1_head *h, const uint8_t *buf, size_t i)
{
	const struct http1_field *f = &h->fields[i];
	struct slice name = http1_slice(buf, f->name);
	char digits[24];

	LB_ASSERT(i < h->n_fields);
	if (f->id == HTTP1_FIELD_CONTENT_LENGTH) {
		LB_ASSERT(h->content_length >= 0);
		(void)snprintf(digits, sizeof(digits), "%" PRId64, h->content_length);
		out_line(o, name, slice_of(digits));
	} else if (f->id == HTTP1_FIELD_TRANSFER_ENCODING) {
		LB_ASSERT(h->is_chunked);
		out_line(o, name, SLICE("chunked"));
	} else {
		out_line(o, name, http1_slice(buf, f->value));
	}
}

static int out_end(struct out *o)
{
	out_add(o, SLICE("\r\n"));
	return o->is_full ? -ENOSPC : (int)o->n;
}

/* ---- what is removed ------------------------------------------------------------------------- */

/*
 * Whether a head would mean something else without the field `name`, because this field says where
 * the message ends, which host is asked, or what the handshake is.
 */
static bool is_untouchable(struct slice name)
{
	static const struct slice prefix = { .p = "Sec-WebSocket-", .n = 14 };
	struct slice head = { .p = name.p, .n = name.n < prefix.n ? name.n : prefix.n };

	return slice_eq_nocase(name, SLICE("Host")) ||
	       slice_eq_nocase(name, SLICE("Content-Length")) ||
	       slice_eq_nocase(name, SLICE("Transfer-Encoding")) || slice_eq_nocase(head, prefix);
}

const char *forward_check(const struct http1_head *h, const uint8_t *buf)
{
	struct slice list, name;
	size_t n_names = 0;

	for (size_t i = 0; http1_known_field(h, buf, HTTP1_FIELD_CONNECTION, &i, &list);) {
		while (http1_next_token(&list, &name)) {
			if (is_untouchable(name))
				return "Connection names a field that has to stay";
			if (++n_names > CONNECTION_NAMES_MAX)
				return "Connection names too many fields";
		}
	}
	return NULL;
}

static bool is_hop_by_hop(uint8_t id)
{
	return id == HTTP1_FIELD_CONNECTION || id == HTTP1_FIELD_KEEP_ALIVE ||
	       id == HTTP1_FIELD_PROXY_CONNECTION || id == HTTP1_FIELD_TE ||
	       id == HTTP1_FIELD_UPGRADE;
}

static bool is_forwarded_claim(uint8_t id)
{
	return id == HTTP1_FIELD_FORWARDED || id == HTTP1_FIELD_X_FORWARDED_FOR ||
	       id == HTTP1_FIELD_X_FORWARDED_PROTO || id == HTTP1_FIELD_X_FORWARDED_HOST;
}

/*
 * Sets d->field[] for the fields that Connection names, the hop-by-hop fields, and all but the
 * first of several equal Content-Lengths. Clears it for the other fields.
 */
static void drop_hop_by_hop(struct drops *d, const struct http1_head *h, const uint8_t *buf)
{
	struct slice list, name;
	bool has_length = false;

	LB_ASSERT(h->n_fields <= ARRAY_SIZE(d->field));
	for (size_t i = 0; i < h->n_fields; i++) {
		bool is_length = h->fields[i].id == HTTP1_FIELD_CONTENT_LENGTH;

		d->field[i] = is_hop_by_hop(h->fields[i].id) || (is_length && has_length);
		has_length |= is_length;
	}
	for (size_t i = 0; http1_known_field(h, buf, HTTP1_FIELD_CONNECTION, &i, &list);)
		while (http1_next_token(&list, &name))
			for (size_t k = 0; k < h->n_fields; k++)
				d->field[k] |=
					slice_eq_nocase(http1_slice(buf, h->fields[k].name), name);
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Writes the target in origin or asterisk form, whatever form it came in. */
static void out_request_line(struct out *o, const struct http1_head *h, const uint8_t *buf)
{
	out_add(o, http1_slice(buf, h->method_text));
	out_add(o, SLICE(" "));
	out_add(o, http1_path(h, buf));
	if (h->query.off != 0) {
		out_add(o, SLICE("?"));
		out_add(o, http1_slice(buf, h->query));
	}
	out_add(o, SLICE(" HTTP/1.1\r\n"));
}

/*
 * Writes Host when the client's own field is not passed on. Its value is the target's authority
 * when the target is absolute, and the backend's address when the client has named no host.
 */
static void out_host(struct out *o, const struct http1_head *h, const uint8_t *buf,
		     const struct forward *f)
{
	char text[ADDR_TEXT_MAX];

	if (h->form == HTTP1_FORM_ABSOLUTE)
		out_line(o, SLICE("Host"), http1_slice(buf, h->authority));
	else if (h->authority.len == 0)
		out_line(o, SLICE("Host"), slice_of(addr_format(f->backend, text)));
}

/* Whether a field's name is one by which lb tells of a client's certificate. Many servers take `_`
 * for `-`. */
static bool is_cert_claim(struct slice name)
{
	static const char prefix[] = "x-client-cert";

	if (name.n < sizeof(prefix) - 1)
		return false;
	for (size_t i = 0; i < sizeof(prefix) - 1; i++) {
		char c = name.p[i] == '_' ? '-' : name.p[i];
		if (c != prefix[i] && (c < 'A' || c > 'Z' || c + ('a' - 'A') != prefix[i]))
			return false;
	}
	return true;
}

/*
 * Whether lb writes a field of its own instead of field `i`, or field `i` is Expect in HTTP/1.0,
 * which does not know Expect.
 */
static bool is_replaced(const struct http1_head *h, const uint8_t *buf, size_t i)
{
	const struct http1_field *f = &h->fields[i];

	if (f->id == HTTP1_FIELD_HOST)
		return h->form == HTTP1_FORM_ABSOLUTE;
	return is_forwarded_claim(f->id) || is_cert_claim(http1_slice(buf, f->name)) ||
	       (h->minor == 0 && slice_eq_nocase(http1_slice(buf, f->name), SLICE("Expect")));
}

static void out_forwarded(struct out *o, const struct http1_head *h, const uint8_t *buf,
			  const struct forward *f)
{
	char text[ADDR_TEXT_MAX];

	out_line(o, SLICE("X-Forwarded-For"), slice_of(addr_format_host(f->client, text)));
	out_line(o, SLICE("X-Forwarded-Proto"), f->is_tls ? SLICE("https") : SLICE("http"));
	if (h->authority.len != 0)
		out_line(o, SLICE("X-Forwarded-Host"), http1_slice(buf, h->authority));
	out_add(o, f->extra);
}

/* Writes Upgrade with the protocols that the client asked for and lb passes on. */
static void out_upgrade_tokens(struct out *o, const struct http1_head *h, const uint8_t *buf)
{
	struct slice list, token, separator = SLICE("Upgrade: ");

	for (size_t i = 0; http1_known_field(h, buf, HTTP1_FIELD_UPGRADE, &i, &list);) {
		while (http1_next_token(&list, &token)) {
			if (!upgrade_is_passed(token))
				continue;
			out_add(o, separator);
			out_add(o, token);
			separator = SLICE(",");
		}
	}
	out_add(o, SLICE("\r\n"));
}

int forward_request(const struct http1_head *h, const uint8_t *buf, const struct forward *f,
		    uint8_t *out, size_t cap)
{
	struct out o = { .p = out, .cap = cap };
	struct drops d;

	LB_ASSERT(!h->is_response && f->upgrade->kind != UPGRADE_BAD);
	drop_hop_by_hop(&d, h, buf);
	out_request_line(&o, h, buf);
	out_host(&o, h, buf, f);
	for (size_t i = 0; i < h->n_fields; i++)
		if (!d.field[i] && !is_replaced(h, buf, i))
			out_field(&o, h, buf, i);
	out_forwarded(&o, h, buf, f);
	out_add(&o, f->upgrade->kind == UPGRADE_NONE ? SLICE("Connection: close\r\n")
						     : SLICE("Connection: Upgrade\r\n"));
	if (f->upgrade->kind == UPGRADE_WEBSOCKET)
		out_line(&o, SLICE("Upgrade"), SLICE("websocket"));
	else if (f->upgrade->kind == UPGRADE_OTHER)
		out_upgrade_tokens(&o, h, buf);
	return out_end(&o);
}

/* ---- responses ------------------------------------------------------------------------------- */

static void out_status_line(struct out *o, const struct http1_head *h, const uint8_t *buf)
{
	char digits[] = { (char)('0' + h->status / 100), (char)('0' + h->status / 10 % 10),
			  (char)('0' + h->status % 10) };

	out_add(o, SLICE("HTTP/1.1 "));
	out_add(o, (struct slice){ .p = digits, .n = sizeof(digits) });
	out_add(o, SLICE(" "));
	out_add(o, http1_slice(buf, h->reason));
	out_add(o, SLICE("\r\n"));
}

/* Whether field `i` describes a framing that the client does not get. */
static bool is_unframed(const struct http1_head *h, const uint8_t *buf, size_t i, bool is_1_0)
{
	bool is_bodiless = h->status < 200 || h->status == 204; /* RFC 9110, 8.6; RFC 9112, 6.1 */
	bool is_unchunked = is_1_0 && h->is_chunked;

	switch (h->fields[i].id) {
	case HTTP1_FIELD_TRANSFER_ENCODING: return is_bodiless || is_1_0;
	/* RFC 9112, 6.3: Transfer-Encoding overrides Content-Length. */
	case HTTP1_FIELD_CONTENT_LENGTH: return is_bodiless || h->is_chunked;
	default:
		return is_unchunked &&
		       slice_eq_nocase(http1_slice(buf, h->fields[i].name), SLICE("Trailer"));
	}
}

int forward_response(const struct http1_head *h, const uint8_t *buf, bool is_1_0, uint8_t *out,
		     size_t cap)
{
	struct out o = { .p = out, .cap = cap };
	struct drops d;
	bool keeps_upgrade = h->status == 101 || h->status == 426;
	bool has_upgrade = false;

	LB_ASSERT(h->is_response && h->status >= 100 && h->status <= 999);
	drop_hop_by_hop(&d, h, buf);
	out_status_line(&o, h, buf);
	for (size_t i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id == HTTP1_FIELD_UPGRADE && keeps_upgrade)
			has_upgrade = true;
		else if (d.field[i] || is_unframed(h, buf, i, is_1_0))
			continue;
		out_field(&o, h, buf, i);
	}
	if (has_upgrade)
		out_add(&o, SLICE("Connection: Upgrade\r\n"));
	if (h->status >= 200)
		out_add(&o, SLICE("Connection: close\r\n"));
	return out_end(&o);
}

/* ---- lb's own answers ------------------------------------------------------------------------ */

static const char *status_text(int status)
{
	switch (status) {
	case 400: return "Bad Request";
	case 404: return "Not Found";
	case 408: return "Request Timeout";
	case 426: return "Upgrade Required";
	case 431: return "Request Header Fields Too Large";
	case 501: return "Not Implemented";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 504: return "Gateway Timeout";
	case 505: return "HTTP Version Not Supported";
	default: return "Error";
	}
}

int forward_error(int status, const char *why, const char *extra, enum forward_body body,
		  uint8_t *out, size_t cap)
{
	bool has_body = body == FORWARD_BODY;
	bool is_426 = status == 426;
	const char *upgrade = is_426 ? "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n" : "";
	int n = snprintf((char *)out, cap,
			 "HTTP/1.1 %d %s\r\n"
			 "%s%s"
			 "Content-Type: text/plain\r\n"
			 "Content-Length: %zu\r\n"
			 "Connection: %s\r\n\r\n"
			 "%s%s",
			 status, status_text(status), upgrade, extra, strlen(why) + 1,
			 is_426 ? "Upgrade, close" : "close", has_body ? why : "",
			 has_body ? "\n" : "");

	return n < 0 || (size_t)n >= cap ? -ENOSPC : n;
}
