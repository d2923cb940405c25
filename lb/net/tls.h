/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One end of a TLS connection, by memory: ciphertext in, chunks of plaintext out, and back.
 *
 *   tls_feed()            tls_open()
 *   -- ciphertext --> raw ----------> plaintext
 *   <- ciphertext - sealed <--------- plaintext
 *                         tls_seal()
 *
 * A struct tls knows no socket and no session, and makes no system call. Its owner feeds it with
 * what a receive brought, and sends what is in `sealed`, in order and once. The order of the calls:
 *
 *   1. tls_feed(), tls_step() while tls_wants_step(), until it says TLS_DONE;
 *   2. what is to be known of the peer: net/tls_info.h;
 *   3. tls_start() chooses the record layer; behind it the SSL object may be gone;
 *   4. tls_feed() and tls_open(), tls_seal() and tls_close(), in any order;
 *   5. tls_free().
 *
 * Record layers. Under `openssl` the SSL object carries the records, at some 15 KB of memory. Under
 * `compact` lb does (net/tls_record.h), in this struct alone. A connection that cannot be taken out
 * of its SSL object stays there, and is counted.
 *
 * Ends. A close_notify ends one direction and is TLS_END; the other one goes on. When the peer's
 * FIN comes and tls_got_close() says no, the stream was cut off (truncation).
 *
 * Memory. `raw` holds no more than was fed and is not yet a whole record. tls_open() gives at most
 * as many bytes as it took, and tls_seal() takes at most TLS_SEAL_MAX bytes, only when `sealed` is
 * empty. Whoever is not read from while `sealed` has bytes cannot make it grow.
 *
 * Thread: the loop's. Layer: net. Hot, but for the handshake.
 */

#include <stdbool.h>
#include <stdint.h>

#include "net/queue.h"
#include "net/tls_record.h"

struct slab;
struct tls_crypto;
struct tls_ctx;
struct tls_lib;
struct tls_session;
struct tls_shake;

/* Plaintext that one tls_seal() takes at most. */
#define TLS_SEAL_MAX BUF_LARGE_BYTES

enum tls_verdict {
	TLS_MORE,    /* goes on when more ciphertext has come, or more plaintext is there */
	TLS_DONE,    /* tls_step(): the handshake is over */
	TLS_END,     /* the peer's close_notify has come; what it sends behind is ignored */
	TLS_NO_BUFS, /* goes on from here when the caller has reserved buffers (tls_reserve()) */
	TLS_RESET,   /* the peer has sent an alert that ends all; tls_error() names it */
	TLS_FAILED,  /* the connection is unusable; an alert may be in `sealed` */
};

/* clang-format off */
#define TLS_STATES(X)     /* may be followed by */ \
	X(HELLO,   TO(SHAKE) | TO(COMPACT) | TO(BROKEN)) /* a server whose ClientHello is not whole; new */ \
	X(SHAKE,   TO(READY) | TO(BROKEN))               /* the handshake is under way */ \
	X(READY,   TO(OPENSSL) | TO(COMPACT) | TO(BROKEN)) /* it is over; tls_start() is awaited */ \
	X(OPENSSL, TO(COMPACT) | TO(BROKEN))             /* records by the SSL object */ \
	X(COMPACT, TO(BROKEN))                           /* records by lb */ \
	X(BROKEN,  0)                                    /* only `sealed` is of use */
/* clang-format on */

#define X(name, next) TLS_IS_##name,
enum tls_state { TLS_STATES(X) TLS_N_STATES };
#undef X

struct tls {
	/* private to lb/net/tls*.c, but for `sealed` */
	union {
		struct {
			struct tls_half rx, tx;
		};                       /* COMPACT */
		struct tls_ctx *ctx;     /* counted; HELLO */
		struct tls_shake *shake; /* owns; SHAKE, READY, OPENSSL */
		const char *why;         /* static; BROKEN */
	};
	struct queue raw;    /* ciphertext that was not opened yet */
	struct queue sealed; /* records to be sent; the owner takes bytes off its front */
	struct tls_messages messages;
	struct tls_suite suite;
	uint8_t state;  /* enum tls_state; written by tls_set_state() only */
	uint8_t n_idle; /* records in a row that carried no content */
	bool is_client : 1;
	bool got_close : 1;     /* the peer's close_notify has come */
	bool sent_close : 1;    /* ours was sealed */
	bool must_update : 1;   /* a KeyUpdate of ours is due */
	bool must_request : 1;  /* and it asks for one of the peer's */
	bool has_requested : 1; /* it was sent, and the peer's has not come */
	bool wants_compact : 1; /* OPENSSL, until a client has its session */
	bool is_not_tls : 1;    /* BROKEN by a first byte that is none of a handshake's */
};
_Static_assert(sizeof(struct tls) <= 256, "one for each idle TLS connection");

/* How many ends did what; only ever raised. */
struct tls_counts {
	uint64_t n_compact; /* taken out of their SSL objects */
	uint64_t n_kept;    /* should have been, and could not */
};

/* The TLS ends of a loop. */
struct tls_ends {
	struct tls_lib *lib;       /* borrows */
	struct buf_pool *pool;     /* borrows */
	struct tls_crypto *crypto; /* owns */
	struct slab *slab;         /* owns; slab_reserve() it before tls_new_...() */
	uint8_t *scratch;          /* owns; the content of one record */
	struct tls_counts counts;
};

/* At most `max` ends. Returns 0 or -ENOMEM. */
int tls_ends_init(struct tls_ends *es, struct tls_lib *l, struct buf_pool *pool,
		  uint32_t max) LB_MUST_CHECK;

/* No end may be left. A zeroed struct is fine. */
void tls_ends_deinit(struct tls_ends *es);

/* Reserves the buffers that any one call below needs. Returns 0, -ENOMEM or -ENOBUFS. */
int tls_reserve(struct tls_ends *es) LB_MUST_CHECK;

/* The server's end of a connection, under `c`, of which it takes a reference. NULL: slab_reserve().
 * Costs nothing else before a whole record has come. */
struct tls *tls_new_server(struct tls_ends *es, struct tls_ctx *c);

/*
 * tls_new_client() - the client's end
 *
 * `name` is sent as SNI, unless it is an address, and is what the backend's certificate must bear
 * where the context verifies; NULL: neither, for a context that does not verify. `session` is one
 * of tls_take_session(), or NULL; it stays the caller's, and is not used when it is of another
 * context. Then tls_step() writes the ClientHello. NULL when memory is short.
 */
struct tls *tls_new_client(struct tls_ends *es, struct tls_ctx *c, const char *name,
			   const struct tls_session *session);

/* Drops what it holds and wipes its keys. NULL is fine. Returns NULL. */
struct tls *tls_free(struct tls_ends *es, struct tls *t);

/* Takes over a buffer of ciphertext, of which the caller has the only reference. */
void tls_feed(struct tls_ends *es, struct tls *t, struct buf *b);

/* Whether tls_step() would do something now: a worker may have many such ends, and steps some. */
bool tls_wants_step(const struct tls *t);

/*
 * tls_step() - go on with the handshake
 *
 * TLS_MORE, TLS_DONE, TLS_NO_BUFS, TLS_RESET or TLS_FAILED. Takes up to some milliseconds.
 */
enum tls_verdict tls_step(struct tls_ends *es, struct tls *t) LB_MUST_CHECK;

/* Chooses the record layer, once behind TLS_DONE. */
void tls_start(struct tls_ends *es, struct tls *t);

/*
 * tls_open() - decrypt every record that is whole
 *
 * Appends its content to `out`. TLS_MORE, TLS_END, TLS_NO_BUFS, TLS_RESET or TLS_FAILED; what came
 * before the record that decides is in `out`. Hot.
 */
enum tls_verdict tls_open(struct tls_ends *es, struct tls *t, struct queue *out) LB_MUST_CHECK;

/*
 * tls_seal() - encrypt from the front of `in`
 *
 * Takes up to TLS_SEAL_MAX bytes when `sealed` is empty, and none otherwise. A KeyUpdate that is
 * due goes first. TLS_MORE, TLS_NO_BUFS or TLS_FAILED. Not to be called behind tls_close(). Hot.
 */
enum tls_verdict tls_seal(struct tls_ends *es, struct tls *t, struct queue *in) LB_MUST_CHECK;

/* Whether tls_seal() should be called at the end of the turn though `in` may be empty. */
static inline bool tls_wants_seal(const struct tls *t)
{
	return (t->must_update || t->must_request) && queue_is_empty(&t->sealed) && !t->sent_close;
}

/* Appends a close_notify to `sealed`: a FIN may follow. TLS_MORE, TLS_NO_BUFS or TLS_FAILED. Again
 * is fine. */
enum tls_verdict tls_close(struct tls_ends *es, struct tls *t) LB_MUST_CHECK;

/* Whether the peer's close_notify has come: a FIN without it is a truncation. */
static inline bool tls_got_close(const struct tls *t)
{
	return t->got_close;
}

/* Whether tls_start() was called, so that bytes may be opened and sealed. */
static inline bool tls_is_started(const struct tls *t)
{
	return t->state == TLS_IS_OPENSSL || t->state == TLS_IS_COMPACT;
}

/* Whether lb carries the records. */
static inline bool tls_is_compact(const struct tls *t)
{
	return t->state == TLS_IS_COMPACT;
}

/* Whether a server's end was TLS_FAILED by what is no TLS at all, such as a plain request. */
static inline bool tls_is_not_tls(const struct tls *t)
{
	return t->is_not_tls;
}

/* OpenSSL's or lb's word for why it was TLS_FAILED or TLS_RESET; static text. */
const char *tls_error(const struct tls *t);

/*
 * tls_take_session() - the newest session that the backend gave, or NULL
 *
 * The caller's, for a later tls_new_client(). To be asked for after TLS_DONE and after each
 * tls_open() as long as the caller has none. Thread: a session is its loop's.
 */
struct tls_session *tls_take_session(struct tls *t);

/* NULL is fine. Returns NULL. */
struct tls_session *tls_session_free(struct tls_session *s);
