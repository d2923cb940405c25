/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which upgrade a request asks for (RFC 9110, 7.8, and RFC 6455, 4.2.1), and whether a 101 answers
 * it.
 *
 * upgrade_judge() reads the Connection and Upgrade fields of a request. When one element of Upgrade
 * is "websocket", judge_websocket() judges the handshake. When none is, but lb passes one of the
 * elements on (upgrade_is_passed()), the request asks for another protocol. When lb refuses a
 * request, refuse() sets a status and a reason.
 *
 * upgrade_judge_101() reads the same fields of the response: the response may name only protocols
 * that the request named (is_asked()), and for a WebSocket it must have the right
 * Sec-WebSocket-Accept (judge_accept()).
 *
 * Thread: any.
 */
#include "proto/upgrade.h"

#include "proto/octet.h"

#define VERSION SLICE("13")

static bool is_http2(struct slice token)
{
	static const struct slice names[] = {
		{ .p = "h2c", .n = 3 },
		{ .p = "h2", .n = 2 },
		{ .p = "HTTP/2.0", .n = 8 },
		{ .p = "HTTP/2", .n = 6 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (slice_eq_nocase(token, names[i]))
			return true;
	return false;
}

static bool is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!octet_is((uint8_t)s.p[i], OCTET_TOKEN))
			return false;
	return s.n > 0;
}

bool upgrade_is_passed(struct slice element)
{
	const char *slash = element.n > 0 ? memchr(element.p, '/', element.n) : NULL;
	struct slice name = element;

	if (slash != NULL) {
		name.n = (size_t)(slash - element.p);
		struct slice version = { .p = slash + 1, .n = element.n - name.n - 1 };
		if (!is_token(version))
			return false;
	}
	return is_token(name) && !is_http2(element);
}

static void refuse(struct upgrade *u, uint16_t status, const char *why)
{
	LB_ASSERT(status == 400 || status == 426); /* as struct upgrade says */
	u->kind = UPGRADE_BAD;
	u->status = status;
	u->why = why;
}

/* Whether `s` is base64 of 16 bytes: 22 characters and "==" (RFC 4648, 4). */
static bool is_key(struct slice s)
{
	if (s.n != ACCEPT_KEY_NONCE_LEN || s.p[22] != '=' || s.p[23] != '=')
		return false;
	for (size_t i = 0; i < 22; i++) {
		char c = s.p[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		      c == '+' || c == '/'))
			return false;
	}
	return true;
}

/*
 * Finds the value of a field that has exactly one line. Returns false when the head has none or
 * several.
 */
static bool only_field(const struct http1_head *h, const uint8_t *buf, enum http1_id id,
		       struct slice *ret_value)
{
	size_t iter = 0;
	struct slice another;

	return http1_known_field(h, buf, id, &iter, ret_value) &&
	       !http1_known_field(h, buf, id, &iter, &another);
}

static void judge_websocket(struct upgrade *u, const struct http1_head *h, const uint8_t *buf)
{
	struct slice version, key;

	if (h->method != HTTP1_GET) {
		refuse(u, 400, "an upgrade to websocket that is not a GET");
	} else if (h->content_length > 0 || h->is_chunked) {
		refuse(u, 400, "an upgrade to websocket with a body");
	} else if (!only_field(h, buf, HTTP1_FIELD_SEC_WEBSOCKET_VERSION, &version) ||
		   !slice_eq(version, VERSION)) {
		refuse(u, 426, "WebSocket version 13 is spoken here");
	} else if (!only_field(h, buf, HTTP1_FIELD_SEC_WEBSOCKET_KEY, &key) || !is_key(key)) {
		refuse(u, 400, "malformed, missing or repeated Sec-WebSocket-Key");
	} else {
		LB_ASSERT(key.n < sizeof(u->key));
		u->kind = UPGRADE_WEBSOCKET;
		memcpy(u->key, key.p, key.n);
	}
}

void upgrade_judge(struct upgrade *u, const struct http1_head *h, const uint8_t *buf)
{
	struct slice list, token;
	bool is_other = false;

	*u = (struct upgrade){ .kind = UPGRADE_NONE };
	if (h->minor == 0 || !http1_has_token(h, buf, HTTP1_FIELD_CONNECTION, SLICE("upgrade")))
		return;
	for (size_t i = 0; http1_known_field(h, buf, HTTP1_FIELD_UPGRADE, &i, &list);) {
		while (http1_next_token(&list, &token)) {
			if (slice_eq_nocase(token, SLICE("websocket"))) {
				judge_websocket(u, h, buf);
				return;
			}
			is_other |= upgrade_is_passed(token);
		}
	}
	if (is_other)
		u->kind = UPGRADE_OTHER;
}

static const char *judge_accept(const struct upgrade *u, const struct http1_head *h,
				const uint8_t *buf)
{
	char want[ACCEPT_KEY_TEXT];
	struct slice got;

	if (!only_field(h, buf, HTTP1_FIELD_SEC_WEBSOCKET_ACCEPT, &got))
		return "a 101 with no or two Sec-WebSocket-Accept";
	if (accept_key(u->key, want) < 0)
		return "no memory to check Sec-WebSocket-Accept";
	if (!slice_eq(got, slice_of(want)))
		return "a 101 with a wrong Sec-WebSocket-Accept";
	return NULL;
}

/* Whether forward_request() named this protocol to the backend. */
static bool is_asked(const struct upgrade *u, struct slice token, const struct http1_head *req,
		     const uint8_t *req_buf)
{
	if (u->kind == UPGRADE_WEBSOCKET)
		return slice_eq_nocase(token, SLICE("websocket"));
	LB_ASSERT(req != NULL);
	return upgrade_is_passed(token) &&
	       http1_has_token(req, req_buf, HTTP1_FIELD_UPGRADE, token);
}

const char *upgrade_judge_101(const struct upgrade *u, const struct http1_head *h,
			      const uint8_t *buf, const struct http1_head *req,
			      const uint8_t *req_buf)
{
	struct slice list, token;
	bool has_any = false;

	LB_ASSERT(h->is_response);
	if (u->kind != UPGRADE_WEBSOCKET && u->kind != UPGRADE_OTHER)
		return "a 101 although no upgrade was asked for";
	if (h->minor == 0)
		return "a 101 in HTTP/1.0";
	if (!http1_has_token(h, buf, HTTP1_FIELD_CONNECTION, SLICE("upgrade")))
		return "a 101 whose Connection does not name upgrade";
	for (size_t i = 0; http1_known_field(h, buf, HTTP1_FIELD_UPGRADE, &i, &list);) {
		while (http1_next_token(&list, &token)) {
			if (!is_asked(u, token, req, req_buf))
				return "a 101 to a protocol that was not asked for";
			has_any = true;
		}
	}
	if (!has_any)
		return "a 101 without Upgrade";
	return u->kind == UPGRADE_WEBSOCKET ? judge_accept(u, h, buf) : NULL;
}
