/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of a TLS end share. Includes OpenSSL: for the TLS files of lb/net only. */

#include "net/tls.h"
#include "net/tls_bio.h"
#include "net/tls_ctx_priv.h"
#include "net/tls_lib_priv.h"
#include "net/tls_watch.h"

/* An SSL object and what belongs to it. */
struct tls_shake {
	SSL *ssl;            /* owns */
	struct tls_ctx *ctx; /* counted */
	struct tls_bio bio;
	struct tls_watch watch;
	bool has_session; /* the client was given one, whether it was taken or not */
	bool has_content; /* content has come */
	bool is_writing;  /* a record was sealed, and no buffer was left to write it to */
};

struct tls_session {
	SSL_SESSION *session; /* owns */
	uint64_t ctx_id;
};

/* ---- net/tls_state.c ------------------------------------------------------------------------- */

/* The only writer of t->state: asserts that the table allows the move. */
void tls_set_state(struct tls *t, enum tls_state to);

/* Frees the SSL object, or wipes the keys; `why` is what tls_error() says. */
void tls_break(struct tls *t, const char *why);

/* Frees the SSL object with its context. */
void tls_shake_free(struct tls *t);

/* The verdict on an SSL object that has failed, by OpenSSL's errors; the end is BROKEN then. */
enum tls_verdict tls_ssl_failed(struct tls *t);

/* Counts one more record without content; whether there are too many in a row. */
bool tls_is_idle_too_long(struct tls *t);

/* ---- net/tls_shake.c ------------------------------------------------------------------------- */

enum tls_verdict tls_shake_step(struct tls_ends *es, struct tls *t);

/* Makes the SSL object. Returns 0 or -ENOMEM; t->ctx stays then. */
int tls_shake_begin(struct tls_ends *es, struct tls *t) LB_MUST_CHECK;

/* ---- net/tls_extract.c ----------------------------------------------------------------------- */

/* Whether OpenSSL is between two records, of both directions: tls_extract() may succeed. */
bool tls_is_between_records(const struct tls *t);

/*
 * tls_extract() - take the keys out of the SSL object and free it
 *
 * The state is COMPACT then. Returns false, and changes nothing, where it cannot be.
 */
bool tls_extract(struct tls_ends *es, struct tls *t);

/* ---- net/tls_openssl.c ----------------------------------------------------------------------- */

enum tls_verdict tls_openssl_open(struct tls_ends *es, struct tls *t, struct queue *out);
enum tls_verdict tls_openssl_seal(struct tls_ends *es, struct tls *t, struct queue *in);
enum tls_verdict tls_openssl_close(struct tls_ends *es, struct tls *t);

/* ---- net/tls_compact.c ----------------------------------------------------------------------- */

enum tls_verdict tls_compact_open(struct tls_ends *es, struct tls *t, struct queue *out);
enum tls_verdict tls_compact_seal(struct tls_ends *es, struct tls *t, struct queue *in);
enum tls_verdict tls_compact_close(struct tls_ends *es, struct tls *t);
