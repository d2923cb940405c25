/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Why a connection ended: one table, one row per reason.
 *
 * From it come the enum, the word in logs and statistics, the HTTP status that a client still
 * waiting for an answer gets (0: none), the WebSocket close code a gentle end would carry, the list
 * in lb(8), and the line that such a client is told. Strangers read that line: it names no key of
 * the configuration and nothing of what is behind lb.
 *
 * Thread: any (constants). Layer: proxy.
 */

#include <stdint.h>

/* clang-format off */
#define SESS_ENDS(X) \
	/* name            word                 status  close  meaning, told */ \
	X(CLIENT_CLOSED,    "client_closed",     0,      1000,  "the client closed the connection first", "") \
	X(BACKEND_CLOSED,   "backend_closed",    0,      1001,  "the backend closed the connection first", "") \
	X(CLIENT_RESET,     "client_reset",      0,      1006,  "the client reset the connection", "") \
	X(BACKEND_RESET,    "backend_reset",     502,    1006,  "the backend reset the connection", \
	  "the server closed the connection before it had answered") \
	X(CLIENT_VANISHED,  "client_vanished",   0,      1006,  "the client stopped acknowledging data or keepalive probes", "") \
	X(BACKEND_VANISHED, "backend_vanished",  502,    1006,  "the backend stopped acknowledging data or keepalive probes", \
	  "the server has stopped answering") \
	X(CLIENT_STALLED,   "client_stalled",    0,      1008,  "the client's host still answers, but the client has read nothing for timeouts.user", "") \
	X(BACKEND_STALLED,  "backend_stalled",   502,    1011,  "the backend's host still answers, but the backend has read nothing for timeouts.user", \
	  "the server has stopped taking the request") \
	X(COMPLETED,        "completed",         0,      1000,  "a plain HTTP request was answered completely", "") \
	X(IDLE,             "idle",              0,      1001,  "no data was transferred in either direction for timeouts.idle (or timeouts.body)", "") \
	X(HALF_CLOSED,      "half_closed",       0,      1001,  "after one side had closed its direction, no data was transferred for timeouts.half_closed", "") \
	X(HANDSHAKE_TIMEOUT,"handshake_timeout", 408,    1008,  "the request head was not complete within timeouts.handshake", \
	  "the request did not come in time") \
	X(BAD_REQUEST,      "bad_request",       400,    1002,  "the request was malformed or refused", \
	  "the request is malformed") \
	X(NO_ROUTE,         "no_route",          404,    1008,  "no route matched the request", \
	  "nothing is served at this address") \
	X(NO_BACKEND,       "no_backend",        503,    1013,  "no backend was available, for example because all were down, drained or full", \
	  "no server is free, try again in a few seconds") \
	X(NO_PORT,          "no_port",           503,    1013,  "no local port was left for a connection to the backend", \
	  "no server is free, try again in a few seconds") \
	X(CONNECT_FAILED,   "connect_failed",    502,    1014,  "lb could not connect to any of the backends that it tried", \
	  "no server could be reached") \
	X(CONNECT_TIMEOUT,  "connect_timeout",   504,    1014,  "the last backend that lb tried did not accept the connection within timeouts.connect", \
	  "no server could be reached in time") \
	X(RESPONSE_TIMEOUT, "response_timeout",  504,    1014,  "the backend sent no complete response head within timeouts.upgrade or timeouts.response", \
	  "the server did not answer in time") \
	X(BAD_RESPONSE,     "bad_response",      502,    1014,  "the backend's response head was malformed or cut short", \
	  "the server's answer is malformed") \
	X(BAD_ACCEPT,       "bad_accept",        502,    1014,  "the backend's 101 response did not match the request", \
	  "the server's answer does not fit the request") \
	X(STOP,             "stop",              0,      1001,  "lb was stopped", "") \
	X(ADMIN,            "admin",             0,      1001,  "an operator ended the connection", "")
/* clang-format on */

enum sess_end {
	SESS_END_NONE, /* not ended yet */
#define X(name, word, status, close, meaning, told) SESS_END_##name,
	SESS_ENDS(X)
#undef X
		SESS_N_ENDS
};

/* "client_closed", …; "" for SESS_END_NONE. */
const char *sess_end_word(enum sess_end e);

/* The HTTP status a waiting client gets, or 0. */
uint16_t sess_end_status(enum sess_end e);

/* The close code of RFC 6455, 7.4.1 that tells the reason. */
uint16_t sess_end_close_code(enum sess_end e);

/* A sentence for lb(8). */
const char *sess_end_meaning(enum sess_end e);

/* What a client that still waits for an answer is told, in the body; "" where it gets no status. */
const char *sess_end_told(enum sess_end e);
