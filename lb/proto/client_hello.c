/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of ClientHellos.
 *
 * Terms. A record is five bytes (type, version, length) and that many bytes of content. The message
 * is the handshake message ClientHello: four bytes (type, length) and its body. The message is the
 * content of one record or of several; `pos` and `off` are offsets in the caller's buffer, record
 * headers included. A vector is a length of one or two bytes, and that many bytes (RFC 8446, 3.4).
 * A place is where bytes of the message begin, how many bytes of its record are left there, and how
 * many there are: enough to walk them over the record headers in between.
 *
 * The work has two parts:
 *
 * 1. Framing, as bytes come. client_hello_parse() takes record headers and, from the contents, the
 *    four bytes of the message's header. It skips the body. Whether the message is whole, and what
 *    cannot become a hello any more, is known from this alone. No byte is read twice.
 *
 * 2. The body, once, when it is whole. A struct reader is a place that is read from its front.
 *    take_vector() gives a vector as a reader of its own, and the enclosing reader goes on behind
 *    it. A read beyond the end of a reader gives zeros and makes the reader broken. So the body's
 *    functions follow the grammar, and ask at a few places whether what they have read was there.
 *    Vectors are nested four deep, and a reader skips a record at a time, so this is linear, too.
 *
 * The bytes of a message in several records are never joined: the only copy is a name that lies
 * across a record's end, when its text is needed. A copy of the whole hello would cost 16 KiB for
 * each connection that waits, or a scratch buffer for each worker, which its owner would have to
 * keep from being used twice; and the records as they came are needed all the same.
 *
 * All that part 2 asserts of record headers, part 1 has judged.
 *
 * Thread: the owner's.
 */
#include "proto/client_hello.h"

#include <string.h>

#include "util/sockaddr.h"

#define RECORD_HEADER 5u
#define RECORD_MAX (16u << 10) /* bytes of content (RFC 8446, 5.1) */
#define MESSAGE_HEADER 4u
#define HOST_MAX 253u
#define LABEL_MAX 63u

enum { CONTENT_ALERT = 21, CONTENT_HANDSHAKE = 22 };
enum { MESSAGE_CLIENT_HELLO = 1 };
enum { NAME_HOST = 0 };
enum { VERSION_MAJOR = 3, VERSION_TLS13 = 0x0304 };

/* Descriptions of alerts (RFC 8446, 6). */
enum alert {
	ALERT_UNEXPECTED_MESSAGE = 10,
	ALERT_RECORD_OVERFLOW = 22,
	ALERT_ILLEGAL_PARAMETER = 47,
	ALERT_DECODE_ERROR = 50,
	ALERT_PROTOCOL_VERSION = 70,
	ALERT_UNRECOGNIZED_NAME = 112,
};

/* Types of extensions (RFC 8446, 4.2). The last one is that of TLS Encrypted Client Hello. */
enum {
	EXT_SERVER_NAME = 0,
	EXT_ALPN = 16,
	EXT_SUPPORTED_VERSIONS = 43,
	EXT_ENCRYPTED_CLIENT_HELLO = 0xfe0d,
	EXT_N = 1 << 16,
};

_Static_assert(CLIENT_HELLO_MAX <= UINT16_MAX, "offsets have 16 bits");

static enum client_hello_verdict refuse(struct client_hello *h, enum client_hello_verdict verdict,
					enum alert alert, const char *why)
{
	h->alert = (uint8_t)alert;
	h->why = why;
	return verdict;
}

static enum client_hello_verdict bad(struct client_hello *h, enum alert alert, const char *why)
{
	return refuse(h, CLIENT_HELLO_BAD, alert, why);
}

/* ---- reading over record headers ------------------------------------------------------------- */

struct reader {
	const uint8_t *buf;
	struct client_hello_place at; /* what is left to read */
	bool is_broken;               /* more was read than there is */
};

/* Moves from the end of a record to the content of the next one. Between records only. */
static void enter_record(struct reader *r)
{
	const uint8_t *header = r->buf + r->at.off;

	LB_ASSERT(r->at.in_record == 0 && header[0] == CONTENT_HANDSHAKE);
	r->at.in_record = (uint16_t)(header[3] << 8 | header[4]);
	r->at.off += RECORD_HEADER;
	LB_ASSERT(r->at.in_record != 0);
}

/* Takes `n` bytes that are all in the current record. */
static void advance(struct reader *r, size_t n)
{
	LB_ASSERT(n <= r->at.in_record && n <= r->at.len);
	r->at.off += (uint16_t)n;
	r->at.in_record -= (uint16_t)n;
	r->at.len -= (uint16_t)n;
}

/* Takes the next run of bytes of one record, at most `n`; returns how many, none only for n = 0. */
static size_t take_run(struct reader *r, size_t n, const uint8_t **ret)
{
	if (n == 0)
		return 0;
	if (r->at.in_record == 0)
		enter_record(r);
	size_t run = n < r->at.in_record ? n : r->at.in_record;
	*ret = r->buf + r->at.off;
	advance(r, run);
	return run;
}

static void skip(struct reader *r, size_t n)
{
	const uint8_t *run;

	if (n > r->at.len) {
		r->is_broken = true;
		n = r->at.len;
	}
	while (n != 0)
		n -= take_run(r, n, &run);
}

/* A number of `n` bytes, 0 where they are not there. */
static unsigned take(struct reader *r, size_t n)
{
	unsigned v = 0;
	const uint8_t *byte;

	if (n > r->at.len) {
		skip(r, n);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		(void)take_run(r, 1, &byte);
		v = v << 8 | *byte;
	}
	return v;
}

/* A vector whose length has `n_len` bytes, as a reader of its own. */
static struct reader take_vector(struct reader *r, size_t n_len)
{
	size_t n = take(r, n_len);
	struct reader vector = *r;

	skip(r, n);
	vector.is_broken = r->is_broken;
	vector.at.len = r->is_broken ? 0 : (uint16_t)n;
	return vector;
}

static bool is_empty(const struct reader *r)
{
	return r->at.len == 0;
}

/* All bytes of a place, at most CLIENT_HELLO_TEXT_MAX: where they are, or copied where they lie
 * across the end of a record. */
static struct slice text_of(struct reader r, char scratch[CLIENT_HELLO_TEXT_MAX])
{
	size_t n = r.at.len, got = 0;
	const uint8_t *run = NULL;

	LB_ASSERT(n <= CLIENT_HELLO_TEXT_MAX);
	if (n == 0)
		return (struct slice){ 0 };
	size_t first = take_run(&r, n, &run);
	if (first == n)
		return (struct slice){ .p = (const char *)run, .n = n };
	for (size_t len = first; len != 0; len = take_run(&r, n - got, &run)) {
		memcpy(scratch + got, run, len);
		got += len;
	}
	LB_ASSERT(got == n);
	return (struct slice){ .p = scratch, .n = n };
}

/* ---- the extensions that lb reads ------------------------------------------------------------ */

/* Letters, digits, hyphens (RFC 5890, 2.3.1), and the underscore that some zones use. */
static bool is_label_octet(uint8_t c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
	       c == '_';
}

/* NULL, or what is wrong with a host name. */
static const char *judge_host(struct slice host)
{
	size_t n_label = 0;

	LB_ASSERT(host.n >= 1 && host.n <= HOST_MAX);
	if (host.p[host.n - 1] == '.')
		return "a trailing dot in server_name";
	for (size_t i = 0; i < host.n; i++) {
		uint8_t c = (uint8_t)host.p[i];

		if (c == '.' && n_label == 0)
			return "an empty label in server_name";
		if (c == '\0')
			return "NUL in server_name";
		if (c != '.' && !is_label_octet(c))
			return "an octet in server_name that no host name has";
		n_label = c == '.' ? 0 : n_label + 1;
		if (n_label > LABEL_MAX)
			return "a label of more than 63 bytes in server_name";
	}
	return NULL;
}

/*
 * RFC 6066, 3: a list that may have one host_name. No other type of name was ever defined, and
 * servers do not agree on what a second entry means: it is refused.
 */
static enum client_hello_verdict judge_server_name(struct client_hello *h, struct reader ext)
{
	char scratch[CLIENT_HELLO_TEXT_MAX];
	struct addr addr;

	struct reader list = take_vector(&ext, 2);
	unsigned type = take(&list, 1);
	struct reader name = take_vector(&list, 2);
	if (name.is_broken || !is_empty(&ext))
		return bad(h, ALERT_DECODE_ERROR, "lengths in server_name do not agree");
	if (type != NAME_HOST)
		return bad(h, ALERT_DECODE_ERROR, "a name in server_name that is no host name");
	if (!is_empty(&list))
		return bad(h, ALERT_DECODE_ERROR, "more than one name in server_name");
	if (is_empty(&name))
		return bad(h, ALERT_DECODE_ERROR, "an empty name in server_name");
	if (name.at.len > HOST_MAX)
		return bad(h, ALERT_UNRECOGNIZED_NAME, "a name of more than 253 bytes");

	struct slice host = text_of(name, scratch);
	if (addr_parse_host(host, &addr) == 0) {
		h->has_address_name = true;
		return CLIENT_HELLO_OK;
	}
	const char *why = judge_host(host);
	if (why != NULL)
		return bad(h, ALERT_UNRECOGNIZED_NAME, why);
	h->host = name.at;
	return CLIENT_HELLO_OK;
}

/* RFC 7301, 3.1: a list of one protocol at least; none of them is empty. */
static enum client_hello_verdict judge_alpn(struct client_hello *h, struct reader ext)
{
	struct reader list = take_vector(&ext, 2);

	h->alpn = list.at;
	if (list.is_broken || !is_empty(&ext))
		return bad(h, ALERT_DECODE_ERROR, "lengths in ALPN do not agree");
	if (is_empty(&list))
		return bad(h, ALERT_DECODE_ERROR, "no protocol in ALPN");
	while (!is_empty(&list)) {
		struct reader protocol = take_vector(&list, 1);

		if (protocol.is_broken)
			return bad(h, ALERT_DECODE_ERROR, "lengths in ALPN do not agree");
		if (is_empty(&protocol))
			return bad(h, ALERT_DECODE_ERROR, "an empty protocol in ALPN");
	}
	return CLIENT_HELLO_OK;
}

/* RFC 8446, 4.2.1. Values of other protocols and reserved ones (GREASE, RFC 8701) are passed over.
 */
static enum client_hello_verdict judge_versions(struct client_hello *h, struct reader ext)
{
	struct reader list = take_vector(&ext, 1);

	if (list.is_broken || !is_empty(&ext) || is_empty(&list) || list.at.len % 2 != 0)
		return bad(h, ALERT_DECODE_ERROR, "lengths in supported_versions do not agree");
	h->max_version = 0;
	while (!is_empty(&list)) {
		unsigned version = take(&list, 2);

		if (version == VERSION_TLS13)
			h->offers_tls13 = true;
		if (version >> 8 == VERSION_MAJOR && version > h->max_version)
			h->max_version = (uint16_t)version;
	}
	return CLIENT_HELLO_OK;
}

static enum client_hello_verdict judge_extension(struct client_hello *h, unsigned type,
						 struct reader ext)
{
	switch (type) {
	case EXT_SERVER_NAME: return judge_server_name(h, ext);
	case EXT_ALPN: return judge_alpn(h, ext);
	case EXT_SUPPORTED_VERSIONS: return judge_versions(h, ext);
	case EXT_ENCRYPTED_CLIENT_HELLO: h->has_ech = true; return CLIENT_HELLO_OK;
	default: return CLIENT_HELLO_OK;
	}
}

/* ---- the body -------------------------------------------------------------------------------- */

/* Which types of extensions have come: a bit for each, so that 4,000 of them cost no more to
 * compare than the bytes they are made of. */
struct seen {
	uint64_t bits[EXT_N / 64];
};

static bool see(struct seen *seen, unsigned type)
{
	uint64_t *word = &seen->bits[type / 64], bit = UINT64_C(1) << type % 64;
	bool is_new = (*word & bit) == 0;

	*word |= bit;
	return is_new;
}

static enum client_hello_verdict judge_extensions(struct client_hello *h, struct reader list)
{
	struct seen seen = { 0 };

	while (!is_empty(&list)) {
		unsigned type = take(&list, 2);
		struct reader ext = take_vector(&list, 2);

		if (ext.is_broken)
			return bad(h, ALERT_DECODE_ERROR, "an extension ends beyond the hello");
		if (!see(&seen, type))
			return bad(h, ALERT_ILLEGAL_PARAMETER, "an extension comes twice");
		enum client_hello_verdict v = judge_extension(h, type, ext);
		if (v != CLIENT_HELLO_OK)
			return v;
	}
	return CLIENT_HELLO_OK;
}

/* RFC 8446, 4.1.2. A client of TLS 1.2 may leave the extensions out (RFC 5246, 7.4.1.2). */
static enum client_hello_verdict judge_body(struct client_hello *h, struct reader r)
{
	h->legacy_version = h->max_version = (uint16_t)take(&r, 2);
	skip(&r, 32); /* random */
	struct reader session = take_vector(&r, 1);
	struct reader suites = take_vector(&r, 2);
	struct reader compression = take_vector(&r, 1);

	if (r.is_broken)
		return bad(h, ALERT_DECODE_ERROR, "the hello ends early");
	if (session.at.len > 32)
		return bad(h, ALERT_DECODE_ERROR, "a session id of more than 32 bytes");
	if (is_empty(&suites) || suites.at.len % 2 != 0)
		return bad(h, ALERT_DECODE_ERROR, "a malformed list of cipher suites");
	if (is_empty(&compression))
		return bad(h, ALERT_DECODE_ERROR, "no compression method");
	if (is_empty(&r))
		return CLIENT_HELLO_OK;

	struct reader extensions = take_vector(&r, 2);
	if (extensions.is_broken)
		return bad(h, ALERT_DECODE_ERROR, "the extensions end beyond the hello");
	if (!is_empty(&r))
		return bad(h, ALERT_DECODE_ERROR, "bytes behind the extensions");
	return judge_extensions(h, extensions);
}

/* Reads the message from the first record again, now that it is whole. */
static enum client_hello_verdict judge_message(struct client_hello *h, const uint8_t *buf)
{
	struct reader r = { .buf = buf, .at = { .len = h->n_message } };

	skip(&r, MESSAGE_HEADER);
	LB_ASSERT(!r.is_broken);
	return judge_body(h, r);
}

/* ---- framing --------------------------------------------------------------------------------- */

/* Bytes of the message by its own header; the largest number while that has not come. */
static size_t message_bytes(const struct client_hello *h)
{
	if (h->n_head < MESSAGE_HEADER)
		return SIZE_MAX;
	return MESSAGE_HEADER + ((size_t)h->head[1] << 16 | (size_t)h->head[2] << 8 | h->head[3]);
}

/* Takes a byte of the message's header. */
static enum client_hello_verdict take_head(struct client_hello *h, uint8_t c)
{
	LB_ASSERT(h->n_head < MESSAGE_HEADER && h->n_head == h->n_message);
	h->head[h->n_head++] = c;
	if (h->head[0] != MESSAGE_CLIENT_HELLO)
		return bad(h, ALERT_UNEXPECTED_MESSAGE, "a handshake message that is no hello");
	if (message_bytes(h) > CLIENT_HELLO_MESSAGE_MAX && h->n_head == MESSAGE_HEADER)
		return refuse(h, CLIENT_HELLO_TOO_LARGE, ALERT_ILLEGAL_PARAMETER,
			      "a hello of more than 16 KiB");
	return CLIENT_HELLO_MORE;
}

/* The message ends where its record does: what is behind it may not be there yet, and a server of
 * TLS 1.3 would refuse it (RFC 8446, 5.1). */
static enum client_hello_verdict judge_end(struct client_hello *h)
{
	if (h->in_record > message_bytes(h) - h->n_message)
		return bad(h, ALERT_UNEXPECTED_MESSAGE, "bytes behind the hello in its record");
	return CLIENT_HELLO_MORE;
}

/* Takes what has come of a record's content. */
static enum client_hello_verdict take_content(struct client_hello *h, const uint8_t *buf,
					      size_t len)
{
	enum client_hello_verdict v = CLIENT_HELLO_MORE;

	while (v == CLIENT_HELLO_MORE && h->n_head < MESSAGE_HEADER && h->in_record != 0 &&
	       h->pos < len) {
		v = take_head(h, buf[h->pos]);
		h->pos++;
		h->in_record--;
		h->n_message++;
		if (v == CLIENT_HELLO_MORE)
			v = judge_end(h);
	}
	if (v != CLIENT_HELLO_MORE || h->n_head < MESSAGE_HEADER)
		return v;

	size_t n = len - h->pos < h->in_record ? len - h->pos : h->in_record;
	h->pos += (uint16_t)n;
	h->in_record -= (uint16_t)n;
	h->n_message += (uint16_t)n;
	LB_ASSERT(h->n_message <= message_bytes(h));
	return h->n_message == message_bytes(h) ? judge_message(h, buf) : CLIENT_HELLO_MORE;
}

/* Judges `n` bytes of a record's header, as many as have come. The version's second byte says
 * nothing (RFC 8446, 5.1). */
static enum client_hello_verdict judge_record(struct client_hello *h, const uint8_t *p, size_t n)
{
	bool is_first = h->pos == 0;

	if (n > 0 && p[0] != CONTENT_HANDSHAKE) {
		if (is_first)
			return refuse(h, CLIENT_HELLO_NOT_TLS, ALERT_UNEXPECTED_MESSAGE, "no TLS");
		return bad(h, ALERT_UNEXPECTED_MESSAGE, "a record of another type");
	}
	if (n > 1 && p[1] != VERSION_MAJOR) {
		if (is_first)
			return refuse(h, CLIENT_HELLO_NOT_TLS, ALERT_PROTOCOL_VERSION, "no TLS");
		return bad(h, ALERT_PROTOCOL_VERSION, "a record of another version");
	}
	if (n < RECORD_HEADER)
		return CLIENT_HELLO_MORE;

	size_t content = (size_t)p[3] << 8 | p[4];
	if (content == 0)
		return bad(h, ALERT_UNEXPECTED_MESSAGE, "an empty record");
	if (content > RECORD_MAX)
		return bad(h, ALERT_RECORD_OVERFLOW, "a record of more than 16 KiB");
	if (h->pos + RECORD_HEADER + content > CLIENT_HELLO_MAX)
		return refuse(h, CLIENT_HELLO_TOO_LARGE, ALERT_ILLEGAL_PARAMETER,
			      "records of more than 17 KiB before the end of the hello");
	h->in_record = (uint16_t)content;
	h->pos += RECORD_HEADER;
	return judge_end(h);
}

/* A header is judged whole again when more of it comes, so at most five times. */
static enum client_hello_verdict take_record(struct client_hello *h, const uint8_t *buf, size_t len)
{
	size_t n = len - h->pos < RECORD_HEADER ? len - h->pos : RECORD_HEADER;

	LB_ASSERT(h->in_record == 0);
	return judge_record(h, buf + h->pos, n);
}

void client_hello_init(struct client_hello *h)
{
	*h = (struct client_hello){ .verdict = CLIENT_HELLO_MORE };
}

enum client_hello_verdict client_hello_parse(struct client_hello *h, const uint8_t *buf, size_t len)
{
	enum client_hello_verdict v = (enum client_hello_verdict)h->verdict;

	size_t before;

	LB_ASSERT(len >= h->pos);
	if (v != CLIENT_HELLO_MORE)
		return v;
	do {
		before = h->pos;
		v = h->in_record == 0 ? take_record(h, buf, len) : take_content(h, buf, len);
	} while (v == CLIENT_HELLO_MORE && h->pos != before);
	LB_ASSERT(h->pos <= CLIENT_HELLO_MAX && h->n_message <= CLIENT_HELLO_MESSAGE_MAX);
	if (v == CLIENT_HELLO_OK)
		h->size = h->pos;
	h->verdict = (uint8_t)v;
	return v;
}

/* ---- what is in a whole hello ---------------------------------------------------------------- */

struct slice client_hello_host(const struct client_hello *h, const uint8_t *buf,
			       char scratch[CLIENT_HELLO_TEXT_MAX])
{
	LB_ASSERT(h->verdict == CLIENT_HELLO_OK);
	return text_of((struct reader){ .buf = buf, .at = h->host }, scratch);
}

bool client_hello_alpn_next(struct client_hello_alpn *it, const uint8_t *buf,
			    char scratch[CLIENT_HELLO_TEXT_MAX], struct slice *ret)
{
	struct reader list = { .buf = buf, .at = it->rest };

	if (is_empty(&list))
		return false;
	struct reader protocol = take_vector(&list, 1);
	LB_ASSERT(!protocol.is_broken && !is_empty(&protocol)); /* judge_alpn() has looked */
	it->rest = list.at;
	*ret = text_of(protocol, scratch);
	return true;
}

bool client_hello_offers(const struct client_hello *h, const uint8_t *buf, struct slice protocol)
{
	char scratch[CLIENT_HELLO_TEXT_MAX];
	struct client_hello_alpn it = client_hello_alpn(h);
	struct slice offered;

	LB_ASSERT(h->verdict == CLIENT_HELLO_OK);
	while (client_hello_alpn_next(&it, buf, scratch, &offered))
		if (slice_eq(offered, protocol))
			return true;
	return false;
}

/* The record's version is 0x0303, as of every record but a client's first (RFC 8446, 5.1). */
size_t client_hello_refuse(uint8_t alert, uint8_t out[CLIENT_HELLO_ALERT_BYTES])
{
	const uint8_t record[CLIENT_HELLO_ALERT_BYTES] = {
		CONTENT_ALERT, 3, 3, 0, 2, 2 /* fatal */, alert,
	};

	memcpy(out, record, sizeof(record));
	return sizeof(record);
}
