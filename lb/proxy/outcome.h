/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How a request ended: one table, one row per outcome. (Why a connection ended is proxy/end.h.)
 *
 * The table gives the enum, the word, the HTTP status of lb's own answer (0: lb gives no answer),
 * the end reason of a connection that ends with the request (NONE: the connection ends for another
 * reason), and the line of text in the answer's body. Clients read that line, so it names no key of
 * the configuration and nothing of what is behind lb.
 *
 * Thread: any (constants). Layer: proxy.
 */

#include <stdint.h>

#include "proxy/end.h"

/* clang-format off */
#define OUTCOMES(X) \
	/* name             word                 status  end reason, told */ \
	X(COMPLETED,        "completed",         0,      COMPLETED,         "") \
	X(TUNNEL,           "tunnel",            0,      NONE,              "") \
	X(ABORTED,          "aborted",           0,      NONE,              "") \
	X(HANDSHAKE_TIMEOUT,"handshake_timeout", 408,    HANDSHAKE_TIMEOUT, "the request did not come in time") \
	X(BODY_TIMEOUT,     "body_timeout",      408,    IDLE,              "the body of the request stopped coming") \
	X(BAD_REQUEST,      "bad_request",       400,    BAD_REQUEST,       "the request is malformed") \
	X(NO_ROUTE,         "no_route",          404,    NO_ROUTE,          "nothing is served at this address") \
	X(NO_BACKEND,       "no_backend",        503,    NO_BACKEND,        "no server is free, try again in a few seconds") \
	X(NO_PORT,          "no_port",           503,    NO_PORT,           "no server is free, try again in a few seconds") \
	X(CONNECT_FAILED,   "connect_failed",    502,    CONNECT_FAILED,    "no server could be reached") \
	X(CONNECT_TIMEOUT,  "connect_timeout",   504,    CONNECT_TIMEOUT,   "no server could be reached in time") \
	X(RESPONSE_TIMEOUT, "response_timeout",  504,    RESPONSE_TIMEOUT,  "the server did not answer in time") \
	X(BAD_RESPONSE,     "bad_response",      502,    BAD_RESPONSE,      "the server's answer is malformed") \
	X(BAD_ACCEPT,       "bad_accept",        502,    BAD_ACCEPT,        "the server's answer does not fit the request") \
	X(BACKEND_RESET,    "backend_reset",     502,    BACKEND_RESET,     "the server closed the connection before it had answered") \
	X(BACKEND_VANISHED, "backend_vanished",  502,    BACKEND_VANISHED,  "the server has stopped answering") \
	X(BACKEND_STALLED,  "backend_stalled",   502,    BACKEND_STALLED,   "the server has stopped taking the request")
/* clang-format on */

/*
 * COMPLETED: the client got the whole response. TUNNEL: the connection carries a tunnel from here
 * on (a 101, or mode tcp). ABORTED: the connection ended before the request was answered, because
 * of the client, of an operator or of a stop.
 */
enum outcome {
	OUTCOME_NONE, /* the request is not over */
#define X(name, word, status, end, told) OUTCOME_##name,
	OUTCOMES(X)
#undef X
		N_OUTCOMES
};

/* The outcome's word, such as "completed"; "" for OUTCOME_NONE. */
const char *outcome_word(enum outcome o);

/* The HTTP status of lb's own answer; 0: lb gives no answer. */
uint16_t outcome_status(enum outcome o);

/* The end reason of a connection that ends with the request; SESS_END_NONE: the connection ends for
 * another reason. */
enum sess_end outcome_end(enum outcome o);

/* The line of text in the body of lb's own answer; "" when lb gives no answer. */
const char *outcome_told(enum outcome o);

/* The outcome of a request that is not over when its connection ends for the reason `e`. */
enum outcome outcome_of_end(enum sess_end e);
