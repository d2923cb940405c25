/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Why a connection ended: one table, one row per reason. (How a request ended is proxy/outcome.h.)
 *
 * The table gives the enum, the word in logs and statistics, the WebSocket close code that stands
 * for the reason (lb sends no Close frame of its own so far), and the list in lb(8).
 *
 * Thread: any (constants). Layer: proxy.
 */

#include <stdint.h>

/* clang-format off */
#define SESS_ENDS(X) \
	/* name            word                 close  meaning */ \
	X(CLIENT_CLOSED,     "client_closed",     1000,  "the client closed the connection first") \
	X(BACKEND_CLOSED,    "backend_closed",    1001,  "the backend closed the connection first") \
	X(CLIENT_RESET,      "client_reset",      1006,  "the client reset the connection") \
	X(BACKEND_RESET,     "backend_reset",     1006,  "the backend reset the connection") \
	X(CLIENT_VANISHED,   "client_vanished",   1006,  "the client stopped acknowledging data or keepalive probes") \
	X(BACKEND_VANISHED,  "backend_vanished",  1006,  "the backend stopped acknowledging data or keepalive probes") \
	X(CLIENT_STALLED,    "client_stalled",    1008,  "the client's host still answers, but the client has read nothing for timeouts.user") \
	X(BACKEND_STALLED,   "backend_stalled",   1011,  "the backend's host still answers, but the backend has read nothing for timeouts.user") \
	X(COMPLETED,         "completed",         1000,  "a plain HTTP request was answered completely") \
	X(IDLE,              "idle",              1001,  "no data was transferred in either direction for timeouts.idle (or timeouts.body)") \
	X(HALF_CLOSED,       "half_closed",       1001,  "after one side had closed its direction, no data was transferred for timeouts.half_closed") \
	X(HANDSHAKE_TIMEOUT, "handshake_timeout", 1008,  "the request head was not complete within timeouts.handshake") \
	X(BAD_PROXY,         "bad_proxy",         1002,  "the connection came from a network of proxy_protocol.from and did not begin with a PROXY header that lb accepts") \
	X(TLS_FAILED,        "tls_failed",        1002,  "the client's TLS handshake failed, or its records were broken") \
	X(HANDSHAKE_SHED,    "handshake_shed",    1013,  "too many TLS handshakes were under way, and this one had waited for its client for over a second") \
	X(BAD_REQUEST,       "bad_request",       1002,  "the request was malformed or refused") \
	X(NO_ROUTE,          "no_route",          1008,  "no route matched the request") \
	X(NO_BACKEND,        "no_backend",        1013,  "no backend was available, for example because all were down, drained or full") \
	X(NO_PORT,           "no_port",           1013,  "no local port was left for a connection to the backend") \
	X(CONNECT_FAILED,    "connect_failed",    1014,  "lb could not connect to any of the backends that it tried") \
	X(CONNECT_TIMEOUT,   "connect_timeout",   1014,  "the last backend that lb tried did not accept the connection within timeouts.connect") \
	X(RESPONSE_TIMEOUT,  "response_timeout",  1014,  "the backend sent no complete response head within timeouts.upgrade or timeouts.response") \
	X(BAD_RESPONSE,      "bad_response",      1014,  "the backend's response head was malformed or cut short") \
	X(BAD_ACCEPT,        "bad_accept",        1014,  "the backend's 101 response did not match the request") \
	X(STOP,              "stop",              1001,  "lb was stopped") \
	X(ADMIN,             "admin",             1001,  "an operator ended the connection")
/* clang-format on */

enum sess_end {
	SESS_END_NONE, /* the connection has not ended */
#define X(name, word, close, meaning) SESS_END_##name,
	SESS_ENDS(X)
#undef X
		SESS_N_ENDS
};

/* The reason's word, such as "client_closed"; "" for SESS_END_NONE. */
const char *sess_end_word(enum sess_end e);

/* The WebSocket close code (RFC 6455, 7.4.1) that stands for the reason. */
uint16_t sess_end_close_code(enum sess_end e);

/* What the reason means, as lb(8) says it. */
const char *sess_end_meaning(enum sess_end e);
