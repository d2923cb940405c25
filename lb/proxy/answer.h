/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * lb's own answers: a response with a status and a line of text, to a client that still waits for
 * one. The connection is closed behind it (proxy/closing.h).
 *
 * Where no answer can be given (mode tcp, or no memory), the client's connection is reset.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/outcome.h"
#include "proxy/session.h"

/*
 * answer_error() - answer with the outcome's status, then close
 *
 * `why` is a constant, the line of text in the body; NULL: the outcome's own. Does nothing where
 * the session's end has begun.
 */
void answer_error(struct session *s, enum outcome o, const char *why);

/* The same with another status than the outcome's. */
void answer_status(struct session *s, enum outcome o, int status, const char *why);

/* There is no memory for the handshake: 503, and the worker accepts nothing until there is some. */
void answer_out_of_memory(struct session *s);
