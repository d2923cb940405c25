/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * HTTP/1 heads: an incremental and strict parser (RFC 9112), and look-ups in a parsed head.
 *
 * The caller keeps the bytes of a head contiguous in a buffer that only grows. The buffer may move,
 * because a head holds offsets. http1_parse() is called again with every piece, and continues where
 * it stopped. A verdict other than HTTP1_MORE is given at the byte that decides it, and is final. A
 * head that two parsers could read differently (bare CR or LF, folded lines, two Host fields,
 * conflicting lengths, ...) is refused, not repaired.
 *
 * Thread: the owner's. Layer: proto. Includes util/ only. No allocation, no I/O.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"
#include "util/slice.h"

#define HTTP1_HEAD_MAX (16u << 10) /* most bytes of a head, with an empty line before it */
#define HTTP1_FIELDS_MAX 100u

enum http1_verdict {
	HTTP1_MORE, /* the head is not whole yet, and nothing is wrong so far */
	HTTP1_OK,   /* the head is whole and right; it has head_len bytes */
	HTTP1_BAD,  /* 400: the head is malformed */
	/* 431: more bytes than HTTP1_HEAD_MAX, or more fields than HTTP1_FIELDS_MAX */
	HTTP1_TOO_LARGE,
	HTTP1_BAD_VERSION,     /* 505: a major version other than 1, HTTP/2's preface too */
	HTTP1_NOT_IMPLEMENTED, /* 501: the method is CONNECT */
};

enum http1_method {
	HTTP1_OTHER, /* another method, or not known yet */
	HTTP1_GET,
	HTTP1_HEAD,
	HTTP1_OPTIONS,
};

/* The form of a request's target (RFC 9112, 3.2). */
enum http1_form {
	HTTP1_FORM_NONE, /* the form is not known yet, or the head is a response */
	HTTP1_FORM_ORIGIN,
	HTTP1_FORM_ABSOLUTE,
	HTTP1_FORM_ASTERISK,
};

/*
 * What a parser accepts in requests beside the strict grammar. The caller sets http1_head.takes
 * after http1_init_request().
 */
enum {
	HTTP1_TAKES_DOTS = 1u << 0, /* dot segments in the path; see http1_remove_dots() */
	HTTP1_TAKES_UTF8 = 1u << 1, /* well-formed UTF-8 in path and query, not percent-encoded */
};

/* The fields that lb itself reads, writes or removes. */
/* clang-format off */
#define HTTP1_KNOWN_FIELDS(X) \
	X(HOST,                  "Host") \
	X(CONTENT_LENGTH,        "Content-Length") \
	X(TRANSFER_ENCODING,     "Transfer-Encoding") \
	X(CONNECTION,            "Connection") \
	X(UPGRADE,               "Upgrade") \
	X(KEEP_ALIVE,            "Keep-Alive") \
	X(PROXY_CONNECTION,      "Proxy-Connection") \
	X(TE,                    "TE") \
	X(FORWARDED,             "Forwarded") \
	X(X_FORWARDED_FOR,       "X-Forwarded-For") \
	X(X_FORWARDED_PROTO,     "X-Forwarded-Proto") \
	X(X_FORWARDED_HOST,      "X-Forwarded-Host") \
	X(SEC_WEBSOCKET_KEY,     "Sec-WebSocket-Key") \
	X(SEC_WEBSOCKET_VERSION, "Sec-WebSocket-Version") \
	X(SEC_WEBSOCKET_ACCEPT,  "Sec-WebSocket-Accept") \
	X(COOKIE,                "Cookie")
/* clang-format on */

#define X(name, text) HTTP1_FIELD_##name,
enum http1_id { HTTP1_FIELD_OTHER, HTTP1_KNOWN_FIELDS(X) HTTP1_FIELD_N };
#undef X

/*
 * A range of bytes of the buffer. When a head has no such range, `off` is 0. (Only a method can
 * begin at offset 0.)
 */
struct http1_span {
	uint16_t off, len;
};

struct http1_field {
	/* without the white space that a response may have behind the name */
	struct http1_span name;
	struct http1_span value; /* without the white space around the value; may be empty */
	uint8_t id;              /* enum http1_id */
};

/*
 * What the parser has found in a head, and the parser's state: about 1.1 KiB. The spans are
 * complete when the verdict is HTTP1_OK.
 */
struct http1_head {
	int64_t content_length; /* -1: none. A request with a length has no Transfer-Encoding. */
	const char *why;        /* static text: what is wrong; NULL before an error */
	/* bytes of the head; the bytes behind the head begin at this offset */
	uint16_t head_len;
	uint16_t n_fields;
	uint8_t method; /* enum http1_method */
	uint8_t form;   /* enum http1_form */
	uint8_t minor;  /* 0 for HTTP/1.0, else 1 */
	bool is_chunked;
	bool is_response;
	bool has_dots;            /* a segment of the path is a dot segment (HTTP1_TAKES_DOTS) */
	uint8_t takes;            /* HTTP1_TAKES_* flags, set by the caller */
	uint16_t status;          /* of a response: 100 to 999 */
	struct http1_span reason; /* of a response; may be empty */
	struct http1_span method_text;
	struct http1_span target; /* of a request, as it was sent */
	/* of the target, up to '?'; empty in "http://h"; see http1_path() */
	struct http1_span path;
	struct http1_span query; /* of the target, behind '?'; off is 0 when there is no '?' */
	/* the target's, else the value of Host; none only in HTTP/1.0 */
	struct http1_span authority;
	struct http1_span host; /* the authority without port and trailing dot */

	/* private to http1.c */
	uint8_t state;
	uint8_t verdict;
	bool has_host;
	uint16_t pos;  /* how many bytes have been judged */
	uint16_t mark; /* offset at which the word or path segment being read begins */

	/* the first n_fields elements are valid, in the order of the head */
	struct http1_field fields[HTTP1_FIELDS_MAX];
};

_Static_assert(sizeof(struct http1_head) <= 1200, "two of them are in every exchange");

/* Prepares `h` for a new head. To be called before any other function. */
void http1_init_request(struct http1_head *h);
void http1_init_response(struct http1_head *h);

/*
 * http1_parse() - judge a head as far as it has come
 *
 * `buf` has `len` bytes: the bytes of the calls before, at the same offsets, and more. Returns
 * HTTP1_MORE until the verdict is certain; any other verdict is final.
 */
enum http1_verdict http1_parse(struct http1_head *h, const uint8_t *buf, size_t len) LB_MUST_CHECK;

/*
 * Whether a byte of the request line has come. An empty line before the request line does not
 * count.
 */
bool http1_is_begun(const struct http1_head *h);

/* The id of the field with this name, in any case; HTTP1_FIELD_OTHER when lb does not know it. */
enum http1_id http1_name_id(struct slice name);

/* ---- what is in a whole head; slices borrow from `buf` -----------------------------------------
 */

static inline struct slice http1_slice(const uint8_t *buf, struct http1_span span)
{
	return (struct slice){ .p = (const char *)buf + span.off, .n = span.len };
}

/*
 * The path that is sent on: the path as it came; for an absolute target without a path "/", or "*"
 * when OPTIONS asks about the whole server.
 */
struct slice http1_path(const struct http1_head *h, const uint8_t *buf);

/*
 * How many dots a segment of a path consists of: 1 or 2 when it is a dot segment, else 0. A dot may
 * be written as %2e, because other parsers decode it (RFC 3986, 6.2.2.3).
 */
unsigned http1_dots(struct slice segment);

/*
 * http1_remove_dots() - take the dot segments out of the path (RFC 3986, 5.2.4)
 *
 * `h` is a whole request; its path in `buf` is rewritten in place and becomes shorter. Nothing is
 * decoded, so %2f does not count as a slash. The span `target` is not changed, so it does not match
 * the path any more.
 */
void http1_remove_dots(struct http1_head *h, uint8_t *buf);

/*
 * http1_field() - the next value of the field `name` (in any case)
 *
 * *iter is 0 before the first call, and only http1_field() changes it. Returns false when no value
 * is left.
 */
bool http1_field(const struct http1_head *h, const uint8_t *buf, struct slice name, size_t *iter,
		 struct slice *ret_value);

/* Does the same as http1_field() for a field that lb knows by its id. */
bool http1_known_field(const struct http1_head *h, const uint8_t *buf, enum http1_id id,
		       size_t *iter, struct slice *ret_value);

/*
 * Whether the name of some field has an underscore. (CGI and WSGI take an underscore for a hyphen.)
 */
bool http1_has_underscore(const struct http1_head *h, const uint8_t *buf);

/*
 * Takes the fields with an underscore in their names out of the head, so that they are not found
 * and not sent on.
 */
void http1_drop_underscores(struct http1_head *h, const uint8_t *buf);

/*
 * http1_next_token() - take the next element off a comma-separated list
 *
 * Empty elements are skipped; white space around an element is cut off. Returns false when no
 * element is left.
 */
bool http1_next_token(struct slice *list, struct slice *ret_element);

/* Whether any line of a comma-separated field has this element (in any case). */
bool http1_has_token(const struct http1_head *h, const uint8_t *buf, enum http1_id id,
		     struct slice token);

/* The value of the first cookie `name`, undecoded. Returns false if there is none. */
bool http1_cookie(const struct http1_head *h, const uint8_t *buf, struct slice name,
		  struct slice *ret_value);

/* The value of the first query parameter `name`, undecoded; empty for a name without '='. */
bool http1_query(const struct http1_head *h, const uint8_t *buf, struct slice name,
		 struct slice *ret_value);
