/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of heads.
 *
 * Terms. A head is the request line or status line, the field lines, and the empty line behind
 * them. A field is a name and a value (RFC 9110 calls it a header field). A span is an offset and a
 * length in the caller's buffer. A verdict is what http1_parse() returns. `pos` is how many bytes
 * have been judged. `mark` is the offset at which the word or path segment that is being read
 * begins.
 *
 * There is a state for every place in a head, and a function, step_...(), for every state:
 *
 *   request   START -> METHOD -> TARGET -> [SCHEME -> AUTHORITY] -> PATH -> QUERY -> VERSION -+
 *   response  VERSION -> STATUS -> REASON ----------------------------------------------------+
 *                                                                                             v
 *   END_LF <- FIELD <-------------------------------------------------------------------- LINE_LF
 *                |                                                                            ^
 *                +--> NAME -> [BEFORE_COLON] -> BEFORE_VALUE -> VALUE ------------------------+
 *
 * A step function judges at least one byte, or moves to a state that does, and reads no byte at or
 * behind `len`. It returns HTTP1_MORE to go on, or a final verdict with the reason in `why`.
 * http1_parse() calls step functions until the bytes are used up or the verdict is final. It may be
 * called with any number of new bytes, and reads a byte of an earlier call again only to look at a
 * whole word (a method, a name, a value) at its end. So the work for a head is linear in its
 * length, whatever pieces the head arrives in.
 *
 * http1_parse() cuts `len` to HTTP1_HEAD_MAX, so every offset fits 16 bits.
 *
 * What is refused. A head that two parsers could understand differently is refused, because lb and
 * the backend must agree on where a message ends and what it asks for: a bare CR or LF, a folded
 * line, white space before a colon, two Host fields, Content-Length beside Transfer-Encoding. What
 * a field of a response says about its body is judged in body.c, because it depends on the request.
 *
 * Thread: the owner's. Hot.
 */
#include "proto/http1.h"

#include "proto/authority.h"
#include "proto/octet.h"
#include "util/parse.h"

enum state {
	STATE_START,
	STATE_START_LF,
	STATE_METHOD,
	STATE_TARGET,
	STATE_ASTERISK,
	STATE_SCHEME,
	STATE_AUTHORITY,
	STATE_PATH,
	STATE_QUERY,
	STATE_VERSION,
	STATE_VERSION_END,
	STATE_STATUS,
	STATE_REASON,
	STATE_LINE_LF,
	STATE_FIELD,
	STATE_NAME,
	STATE_BEFORE_COLON,
	STATE_BEFORE_VALUE,
	STATE_VALUE,
	STATE_END_LF,
	N_STATES,
};

typedef enum http1_verdict (*step_fn)(struct http1_head *h, const uint8_t *buf, size_t len);

static enum http1_verdict bad(struct http1_head *h, const char *why)
{
	h->why = why;
	return HTTP1_BAD;
}

/*
 * Refuses `c`, the byte at `pos`. For NUL and LF the reason names the byte; for other bytes the
 * reason is `what`.
 */
static enum http1_verdict bad_octet(struct http1_head *h, uint8_t c, const char *what)
{
	switch (c) {
	case '\0': return bad(h, "NUL in the head");
	case '\n': return bad(h, "bare LF");
	default: return bad(h, what);
	}
}

static struct slice slice_between(const uint8_t *buf, size_t from, size_t to)
{
	return (struct slice){ .p = (const char *)buf + from, .n = to - from };
}

static struct http1_span span_between(size_t from, size_t to)
{
	LB_ASSERT(from <= to && to <= HTTP1_HEAD_MAX);
	return (struct http1_span){ .off = (uint16_t)from, .len = (uint16_t)(to - from) };
}

/* Takes the byte at `pos`, and goes to the state `to`. */
static enum http1_verdict advance(struct http1_head *h, enum state to)
{
	h->pos++;
	h->state = to;
	return HTTP1_MORE;
}

/*
 * Moves `pos` to the first octet that is not in `mask`. Returns false when no such octet has come
 * yet.
 */
static bool run(struct http1_head *h, const uint8_t *buf, size_t len, unsigned mask)
{
	LB_DASSERT(h->mark <= h->pos && h->pos <= len);
	h->pos = (uint16_t)octet_run(buf, h->pos, len, mask);
	return h->pos < len;
}

static enum http1_verdict take_lf(struct http1_head *h, const uint8_t *buf, enum state to)
{
	if (buf[h->pos] != '\n')
		return bad(h, "bare CR");
	return advance(h, to);
}

/* ---- the request line ------------------------------------------------------------------------ */

static enum http1_verdict step_start(struct http1_head *h, const uint8_t *buf, size_t len)
{
	(void)len;
	if (buf[h->pos] == '\r' && h->pos == 0)
		/* one empty line is allowed here (RFC 9112, 2.2) */
		return advance(h, STATE_START_LF);
	if (!octet_is(buf[h->pos], OCTET_TOKEN))
		return bad_octet(h, buf[h->pos], "malformed method");
	h->mark = h->pos;
	return advance(h, STATE_METHOD);
}

static enum http1_verdict step_start_lf(struct http1_head *h, const uint8_t *buf, size_t len)
{
	(void)len;
	return take_lf(h, buf, STATE_START);
}

static enum http1_verdict step_method(struct http1_head *h, const uint8_t *buf, size_t len)
{
	if (!run(h, buf, len, OCTET_TOKEN))
		return HTTP1_MORE;
	if (buf[h->pos] != ' ')
		return bad_octet(h, buf[h->pos], "malformed method");

	struct slice s = slice_between(buf, h->mark, h->pos);
	h->method_text = span_between(h->mark, h->pos);
	if (slice_eq(s, SLICE("CONNECT"))) {
		h->why = "CONNECT is not supported";
		return HTTP1_NOT_IMPLEMENTED;
	}
	if (slice_eq(s, SLICE("GET")))
		h->method = HTTP1_GET;
	else if (slice_eq(s, SLICE("HEAD")))
		h->method = HTTP1_HEAD;
	else if (slice_eq(s, SLICE("OPTIONS")))
		h->method = HTTP1_OPTIONS;
	return advance(h, STATE_TARGET);
}

/*
 * Whether the request line begins like HTTP/2's preface, "PRI * HTTP/2.0". Beside OPTIONS, PRI is
 * the only method that may have the target "*", so that step_version() can answer 505.
 */
static bool is_preface(const struct http1_head *h, const uint8_t *buf)
{
	return h->form == HTTP1_FORM_ASTERISK && h->method != HTTP1_OPTIONS &&
	       slice_eq(http1_slice(buf, h->method_text), SLICE("PRI"));
}

/* The first byte of the target decides its form. */
static enum http1_verdict step_target(struct http1_head *h, const uint8_t *buf, size_t len)
{
	(void)len;
	h->target.off = h->path.off = h->mark = h->pos;
	switch (buf[h->pos]) {
	case '/':
		h->form = HTTP1_FORM_ORIGIN;
		h->mark++;
		return advance(h, STATE_PATH);
	case 'h':
	case 'H':
	case 'w':
	case 'W': h->form = HTTP1_FORM_ABSOLUTE; return advance(h, STATE_SCHEME);
	case '*':
		h->form = HTTP1_FORM_ASTERISK;
		if (h->method != HTTP1_OPTIONS && !is_preface(h, buf))
			return bad(h, "the target * is for OPTIONS only");
		return advance(h, STATE_ASTERISK);
	default: return bad_octet(h, buf[h->pos], "malformed target");
	}
}

/* The length of the UTF-8 sequence at p[0] of `n` bytes, or 0 when it is ill-formed. */
static size_t utf8_len(const uint8_t *p, size_t n)
{
	/* bounds of the second byte (Unicode, table 3-7) */
	uint8_t c = p[0], least = 0x80, most = 0xbf;
	size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

	if (len == 0 || len > n)
		return 0;
	if (c == 0xe0)
		least = 0xa0; /* a second byte below is an overlong form */
	else if (c == 0xed)
		most = 0x9f; /* a second byte above is a surrogate */
	else if (c == 0xf0)
		least = 0x90;
	else if (c == 0xf4)
		most = 0x8f;
	for (size_t i = 1; i < len; i++) {
		if (p[i] < least || p[i] > most)
			return 0;
		least = 0x80;
		most = 0xbf;
	}
	return len;
}

static bool is_utf8(struct slice s)
{
	const uint8_t *p = (const uint8_t *)s.p;
	size_t len;

	for (size_t i = 0; i < s.n; i += len) {
		len = utf8_len(p + i, s.n - i);
		if (len == 0)
			return false;
	}
	return true;
}

/*
 * The classes of octets that a target may have: `strict`, and those that the owner of `h` has
 * allowed.
 */
static unsigned target_mask(const struct http1_head *h, unsigned strict)
{
	return h->takes & HTTP1_TAKES_UTF8 ? strict | OCTET_HIGH : strict;
}

/* Called at the space behind the target. */
static enum http1_verdict end_target(struct http1_head *h, const uint8_t *buf)
{
	if (h->takes & HTTP1_TAKES_UTF8 && !is_utf8(slice_between(buf, h->target.off, h->pos)))
		return bad(h, "the target is no UTF-8");
	LB_ASSERT(h->pos > h->target.off);
	h->target.len = (uint16_t)(h->pos - h->target.off);
	h->mark = (uint16_t)(h->pos + 1);
	return advance(h, STATE_VERSION);
}

static enum http1_verdict step_asterisk(struct http1_head *h, const uint8_t *buf, size_t len)
{
	(void)len;
	if (buf[h->pos] != ' ')
		return bad_octet(h, buf[h->pos], "malformed target");
	h->path.len = 1;
	return end_target(h, buf);
}

/*
 * The scheme that begins with the `n` bytes at `p`. p[n] has come, too: it may be the 's' of https.
 */
static struct slice scheme_of(const uint8_t *p, size_t n)
{
	bool is_ws = (p[0] | 0x20) == 'w';
	size_t at = is_ws ? 2 : 4; /* the index of the 's' that ends wss or https */
	bool is_tls = n >= at && (p[at] | 0x20) == 's';

	if (is_ws)
		return is_tls ? SLICE("wss://") : SLICE("ws://");
	return is_tls ? SLICE("https://") : SLICE("http://");
}

/* Reads the scheme of an absolute target: http, https, ws or wss, in any case. */
static enum http1_verdict step_scheme(struct http1_head *h, const uint8_t *buf, size_t len)
{
	for (; h->pos < len; h->pos++) {
		size_t n = (size_t)(h->pos - h->target.off);
		struct slice scheme = scheme_of(buf + h->target.off, n);
		uint8_t c = buf[h->pos];

		if (c != (uint8_t)scheme.p[n] &&
		    !(c >= 'A' && c <= 'Z' && (c | 0x20) == scheme.p[n]))
			return bad_octet(h, c, "malformed target");
		if (n + 1 == scheme.n) {
			h->mark = (uint16_t)(h->pos + 1);
			return advance(h, STATE_AUTHORITY);
		}
	}
	return HTTP1_MORE;
}

/* Called at the byte behind the path: '?' or a space. */
static enum http1_verdict end_path(struct http1_head *h, const uint8_t *buf)
{
	h->path.len = (uint16_t)(h->pos - h->path.off);
	if (buf[h->pos] == ' ')
		return end_target(h, buf);
	h->query.off = (uint16_t)(h->pos + 1);
	return advance(h, STATE_QUERY);
}

static enum http1_verdict step_authority(struct http1_head *h, const uint8_t *buf, size_t len)
{
	struct slice host;

	if (!run(h, buf, len, OCTET_HOST))
		return HTTP1_MORE;
	uint8_t c = buf[h->pos];
	if (c == '@')
		return bad(h, "user information in the target");
	if (c != '/' && c != '?' && c != ' ')
		return bad_octet(h, c, "malformed target");
	if (!authority_parse(slice_between(buf, h->mark, h->pos), &host))
		return bad(h, "malformed authority in the target");
	LB_ASSERT(host.p == (const char *)buf + h->mark); /* authority_parse() cuts only the end */

	h->authority = span_between(h->mark, h->pos);
	h->host = span_between(h->mark, h->mark + host.n);
	h->path.off = h->pos;
	if (c != '/')
		return end_path(h, buf);
	h->mark = (uint16_t)(h->pos + 1);
	return advance(h, STATE_PATH);
}

static enum http1_verdict step_path(struct http1_head *h, const uint8_t *buf, size_t len)
{
	if (!run(h, buf, len, target_mask(h, OCTET_SEGMENT)))
		return HTTP1_MORE;
	uint8_t c = buf[h->pos];
	if (c != '/' && c != '?' && c != ' ')
		return bad_octet(h, c, "malformed target");
	if (http1_dots(slice_between(buf, h->mark, h->pos)) > 0) {
		if (!(h->takes & HTTP1_TAKES_DOTS))
			return bad(h, "a dot segment in the path");
		h->has_dots = true;
	}
	if (c != '/')
		return end_path(h, buf);
	h->mark = (uint16_t)(h->pos + 1);
	return advance(h, STATE_PATH);
}

static enum http1_verdict step_query(struct http1_head *h, const uint8_t *buf, size_t len)
{
	if (!run(h, buf, len, target_mask(h, OCTET_TARGET)))
		return HTTP1_MORE;
	if (buf[h->pos] != ' ')
		return bad_octet(h, buf[h->pos], "malformed target");
	h->query.len = (uint16_t)(h->pos - h->query.off);
	return end_target(h, buf);
}

/* ---- version and status line ----------------------------------------------------------------- */

/* Reads "HTTP/1." and a digit. `mark` is the offset at which the version begins. */
static enum http1_verdict step_version(struct http1_head *h, const uint8_t *buf, size_t len)
{
	static const char version[] = "HTTP/1.";

	for (; h->pos < len; h->pos++) {
		size_t n = (size_t)(h->pos - h->mark);
		uint8_t c = buf[h->pos];
		bool is_digit = octet_is(c, OCTET_DIGIT);

		if (n == sizeof(version) - 1) {
			if (!is_digit)
				return bad_octet(h, c, "malformed HTTP version");
			h->minor = c != '0';
			return advance(h, STATE_VERSION_END);
		}
		if (n == 5 && is_digit && c != '1') {
			h->why = "HTTP version not supported";
			return HTTP1_BAD_VERSION;
		}
		if (c != (uint8_t)version[n] || (n == 5 && is_preface(h, buf)))
			return bad_octet(h, c, "malformed HTTP version");
	}
	return HTTP1_MORE;
}

static enum http1_verdict step_version_end(struct http1_head *h, const uint8_t *buf, size_t len)
{
	(void)len;
	if (buf[h->pos] != (h->is_response ? ' ' : '\r'))
		return bad_octet(h, buf[h->pos], "malformed HTTP version");
	h->mark = (uint16_t)(h->pos + 1);
	return advance(h, h->is_response ? STATE_STATUS : STATE_LINE_LF);
}

/*
 * Reads the three digits of the status and the space in front of the reason. When the reason is
 * empty, the space may be missing: some servers leave the space out, all clients accept that, and
 * the line cannot mean anything else.
 */
static enum http1_verdict step_status(struct http1_head *h, const uint8_t *buf, size_t len)
{
	for (; h->pos < len; h->pos++) {
		size_t n = (size_t)(h->pos - h->mark);
		uint8_t c = buf[h->pos];

		LB_DASSERT(n <= 3 && h->status <= 999);
		if (n == 3 && c == '\r')
			return advance(h, STATE_LINE_LF);
		if (n == 3 && c == ' ') {
			h->reason.off = (uint16_t)(h->pos + 1);
			return advance(h, STATE_REASON);
		}
		if (n == 3 || !octet_is(c, OCTET_DIGIT) || (n == 0 && c == '0'))
			return bad_octet(h, c, "malformed status");
		h->status = (uint16_t)(h->status * 10 + (c - '0'));
	}
	return HTTP1_MORE;
}

static enum http1_verdict step_reason(struct http1_head *h, const uint8_t *buf, size_t len)
{
	if (!run(h, buf, len, OCTET_TEXT))
		return HTTP1_MORE;
	if (buf[h->pos] != '\r')
		return bad_octet(h, buf[h->pos], "malformed reason");
	h->reason.len = (uint16_t)(h->pos - h->reason.off);
	return advance(h, STATE_LINE_LF);
}

static enum http1_verdict step_line_lf(struct http1_head *h, const uint8_t *buf, size_t len)
{
	(void)len;
	return take_lf(h, buf, STATE_FIELD);
}

/* ---- fields ---------------------------------------------------------------------------------- */

/*
 * Called at the first byte of a line. An empty line ends the head; any other line begins with a
 * name.
 */
static enum http1_verdict step_field(struct http1_head *h, const uint8_t *buf, size_t len)
{
	(void)len;
	uint8_t c = buf[h->pos];

	if (c == '\r') {
		if (!h->is_response && h->minor > 0 && !h->has_host)
			return bad(h, "no Host");
		return advance(h, STATE_END_LF);
	}
	if (octet_is(c, OCTET_OWS))
		return bad(h, "a folded line");
	if (!octet_is(c, OCTET_TOKEN))
		return bad_octet(h, c, "malformed field name");
	if (h->n_fields == HTTP1_FIELDS_MAX) {
		h->why = "too many fields";
		return HTTP1_TOO_LARGE;
	}
	h->mark = h->pos;
	return advance(h, STATE_NAME);
}

/* Judges a field by its name alone. Returns what is wrong (static text), or NULL. */
static const char *judge_name(const struct http1_head *h, enum http1_id id)
{
	bool has_length = h->content_length >= 0;

	if (id == HTTP1_FIELD_HOST && h->has_host && !h->is_response)
		return "more than one Host";
	if (id == HTTP1_FIELD_TRANSFER_ENCODING && h->minor == 0)
		return "Transfer-Encoding in HTTP/1.0";
	if (id == HTTP1_FIELD_TRANSFER_ENCODING && h->is_chunked)
		return "more than one Transfer-Encoding";
	/*
	 * Whether a response may have both fields depends on the request: body_check_response()
	 * decides.
	 */
	if (!h->is_response && ((id == HTTP1_FIELD_TRANSFER_ENCODING && has_length) ||
				(id == HTTP1_FIELD_CONTENT_LENGTH && h->is_chunked)))
		return "Content-Length with Transfer-Encoding";
	return NULL;
}

static enum http1_verdict step_name(struct http1_head *h, const uint8_t *buf, size_t len)
{
	if (!run(h, buf, len, OCTET_TOKEN))
		return HTTP1_MORE;
	uint8_t c = buf[h->pos];
	if (octet_is(c, OCTET_OWS) && !h->is_response)
		return bad(h, "white space before the colon");
	if (c != ':' && !octet_is(c, OCTET_OWS))
		return bad_octet(h, c, "malformed field name");

	LB_ASSERT(h->n_fields < HTTP1_FIELDS_MAX);
	struct http1_field *f = &h->fields[h->n_fields];
	enum http1_id id = http1_name_id(slice_between(buf, h->mark, h->pos));
	const char *why = judge_name(h, id);
	if (why != NULL)
		return bad(h, why);
	f->name = span_between(h->mark, h->pos);
	f->id = (uint8_t)id;
	return advance(h, c == ':' ? STATE_BEFORE_VALUE : STATE_BEFORE_COLON);
}

/* White space before a colon: refused in a request, removed from a response (RFC 9112, 5.1). */
static enum http1_verdict step_before_colon(struct http1_head *h, const uint8_t *buf, size_t len)
{
	if (!run(h, buf, len, OCTET_OWS))
		return HTTP1_MORE;
	if (buf[h->pos] != ':')
		return bad_octet(h, buf[h->pos], "malformed field name");
	return advance(h, STATE_BEFORE_VALUE);
}

static enum http1_verdict step_before_value(struct http1_head *h, const uint8_t *buf, size_t len)
{
	if (run(h, buf, len, OCTET_OWS)) {
		h->mark = h->pos;
		h->state = STATE_VALUE;
	}
	return HTTP1_MORE;
}

/*
 * The octets that the value of field `id` may have. *ret_what is the reason when the value has
 * another octet.
 */
static unsigned value_mask(const struct http1_head *h, enum http1_id id, const char **ret_what)
{
	*ret_what = "malformed field value";
	if (id == HTTP1_FIELD_HOST && !h->is_response) {
		*ret_what = "malformed Host";
		return OCTET_HOST | OCTET_OWS;
	}
	if (id == HTTP1_FIELD_CONTENT_LENGTH) {
		*ret_what = "malformed Content-Length";
		return OCTET_DIGIT | OCTET_OWS;
	}
	if (id == HTTP1_FIELD_TRANSFER_ENCODING) {
		*ret_what = "unknown transfer coding";
		return OCTET_TOKEN | OCTET_OWS;
	}
	/*
	 * RFC 9110, 5.5 allows to keep control characters that cannot end a line. lb allows them in
	 * a response's fields that lb does not act upon.
	 */
	return h->is_response && id == HTTP1_FIELD_OTHER ? OCTET_LAX : OCTET_TEXT;
}

static const char *take_host(struct http1_head *h, const uint8_t *buf, struct http1_span value)
{
	struct slice host;

	if (!authority_parse(http1_slice(buf, value), &host))
		return "malformed Host";
	LB_ASSERT(host.p == (const char *)buf + value.off && host.n <= value.len);
	h->has_host = true;
	if (h->form !=
	    HTTP1_FORM_ABSOLUTE) { /* an absolute target overrides Host (RFC 9112, 3.2.2) */
		h->authority = value;
		h->host = span_between(value.off, value.off + host.n);
	}
	return NULL;
}

/*
 * Takes the value of Content-Length. Several lines with equal values count as one line (RFC 9112,
 * 6.3); a list in one line is refused.
 */
static const char *take_length(struct http1_head *h, struct slice value)
{
	uint64_t n;

	if (parse_uint(value, &n) < 0 || n > INT64_MAX)
		return "malformed Content-Length";
	if (h->content_length >= 0 && (uint64_t)h->content_length != n)
		return "differing Content-Length";
	h->content_length = (int64_t)n;
	return NULL;
}

/*
 * Acts upon the value of a field that frames the message or names the host. Returns what is wrong
 * (static text), or NULL.
 */
static const char *take_value(struct http1_head *h, const uint8_t *buf, const struct http1_field *f)
{
	struct slice value = http1_slice(buf, f->value);

	if (f->id == HTTP1_FIELD_HOST && !h->is_response)
		return take_host(h, buf, f->value);
	if (f->id == HTTP1_FIELD_CONTENT_LENGTH)
		return take_length(h, value);
	if (f->id == HTTP1_FIELD_TRANSFER_ENCODING) {
		if (!slice_eq_nocase(value, SLICE("chunked")))
			return "unknown transfer coding";
		h->is_chunked = true;
	}
	return NULL;
}

static enum http1_verdict step_value(struct http1_head *h, const uint8_t *buf, size_t len)
{
	LB_ASSERT(h->n_fields < HTTP1_FIELDS_MAX);
	struct http1_field *f = &h->fields[h->n_fields];
	const char *why;

	if (!run(h, buf, len, value_mask(h, f->id, &why)))
		return HTTP1_MORE;
	if (buf[h->pos] != '\r')
		return bad_octet(h, buf[h->pos], why);

	size_t end = h->pos;
	while (end > h->mark && octet_is(buf[end - 1], OCTET_OWS))
		end--;
	f->value = span_between(h->mark, end);
	why = take_value(h, buf, f);
	if (why != NULL)
		return bad(h, why);
	h->n_fields++;
	return advance(h, STATE_LINE_LF);
}

static enum http1_verdict step_end_lf(struct http1_head *h, const uint8_t *buf, size_t len)
{
	if (buf[h->pos] != '\n')
		return bad(h, "bare CR");
	h->pos++;
	h->head_len = h->pos;
	LB_ASSERT(h->head_len <= len && h->n_fields <= HTTP1_FIELDS_MAX);
	return HTTP1_OK;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static const step_fn steps[N_STATES] = {
	[STATE_START] = step_start,
	[STATE_START_LF] = step_start_lf,
	[STATE_METHOD] = step_method,
	[STATE_TARGET] = step_target,
	[STATE_ASTERISK] = step_asterisk,
	[STATE_SCHEME] = step_scheme,
	[STATE_AUTHORITY] = step_authority,
	[STATE_PATH] = step_path,
	[STATE_QUERY] = step_query,
	[STATE_VERSION] = step_version,
	[STATE_VERSION_END] = step_version_end,
	[STATE_STATUS] = step_status,
	[STATE_REASON] = step_reason,
	[STATE_LINE_LF] = step_line_lf,
	[STATE_FIELD] = step_field,
	[STATE_NAME] = step_name,
	[STATE_BEFORE_COLON] = step_before_colon,
	[STATE_BEFORE_VALUE] = step_before_value,
	[STATE_VALUE] = step_value,
	[STATE_END_LF] = step_end_lf,
};

/* Does not clear `fields`, because only the first n_fields elements are ever read. */
static void init(struct http1_head *h, enum state state)
{
	memset(h, 0, offsetof(struct http1_head, fields));
	h->content_length = -1;
	h->state = (uint8_t)state;
}

void http1_init_request(struct http1_head *h)
{
	init(h, STATE_START);
}

void http1_init_response(struct http1_head *h)
{
	init(h, STATE_VERSION);
	h->is_response = true;
}

bool http1_is_begun(const struct http1_head *h)
{
	return h->state != STATE_START && h->state != STATE_START_LF;
}

enum http1_verdict http1_parse(struct http1_head *h, const uint8_t *buf, size_t len)
{
	size_t end = len < HTTP1_HEAD_MAX ? len : HTTP1_HEAD_MAX;

	LB_ASSERT(h->state < N_STATES);
	LB_ASSERT(h->pos <= end); /* `buf` has to have the bytes of earlier calls, too */
	while (h->verdict == HTTP1_MORE && h->pos < end)
		h->verdict = (uint8_t)steps[h->state](h, buf, end);

	LB_ASSERT(h->state < N_STATES && h->pos <= end);
	LB_ASSERT((h->verdict == HTTP1_MORE || h->verdict == HTTP1_OK) == (h->why == NULL));
	if (h->verdict == HTTP1_MORE && h->pos == HTTP1_HEAD_MAX) {
		h->why = "the head is too long";
		h->verdict = HTTP1_TOO_LARGE;
	}
	return (enum http1_verdict)h->verdict;
}
