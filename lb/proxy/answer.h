/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * lb's own answers: a response with a status and a line of text, to a client that still waits for a
 * response. lb closes the connection after the answer (proxy/closing.h).
 *
 * When no answer can be given (mode tcp, or memory is short), lb resets the client's connection.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/outcome.h"
#include "proxy/session.h"

/*
 * answer_error() - answer with the outcome's status, then close
 *
 * `why` is a constant: the line of text in the answer's body. When `why` is NULL, the outcome's own
 * text is used. Does nothing when the session is CLOSING or DEAD.
 */
void answer_error(struct session *s, enum outcome o, const char *why);

/* Like answer_error(), but with `status` instead of the outcome's status; `why` must not be NULL.
 */
void answer_status(struct session *s, enum outcome o, int status, const char *why);

/* Answers with 503 because memory is short. The worker accepts no connection until
 * capacity_reserve() finds enough memory again. */
void answer_out_of_memory(struct session *s);
