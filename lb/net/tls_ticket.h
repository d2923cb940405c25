/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The keys of session tickets (RFC 5077, 4; RFC 8446, 4.6.1): what lets a client resume its session
 * on any worker, without lb remembering the session.
 *
 * One struct tls_tickets is shared by all workers and by the contexts of all reloads. Main changes
 * its keys, and workers read them without a lock. The first key encrypts new tickets; the others
 * only decrypt older ones.
 *
 * Thread: any, but the functions that change keys: main. Layer: net.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/tls_pem.h"
#include "util/assert.h"
#include "util/err.h"

#define TLS_TICKET_KEYS 3u
#define TLS_TICKET_NAME_BYTES 16u
#define TLS_TICKET_KEY_BYTES 80u /* in a file; the same order as here */

struct tls_ticket_key {
	uint8_t name[TLS_TICKET_NAME_BYTES];
	uint8_t aes[32];
	uint8_t hmac[32];
};
_Static_assert(sizeof(struct tls_ticket_key) == TLS_TICKET_KEY_BYTES, "no padding");

struct tls_ticket_keys {
	struct tls_ticket_key key[TLS_TICKET_KEYS];
	uint32_t n;
	uint32_t unused; /* so that its size is a multiple of 8 */
};

struct tls_tickets;

/* With one reference and a copy of `keys`. NULL when memory is short. */
struct tls_tickets *tls_tickets_new(const struct tls_ticket_keys *keys);

struct tls_tickets *tls_tickets_ref(struct tls_tickets *t);

/* The last reference wipes the keys. NULL is fine. Returns NULL. */
struct tls_tickets *tls_tickets_unref(struct tls_tickets *t);

/* Replaces all keys, as by those of a file that was read again. Thread: main. */
void tls_tickets_set(struct tls_tickets *t, const struct tls_ticket_keys *keys);

/* Puts `fresh` before the others and drops the oldest one. Thread: main. */
void tls_tickets_rotate(struct tls_tickets *t, const struct tls_ticket_key *fresh);

/* A copy of the keys, whole; to be wiped by the caller. */
void tls_tickets_get(const struct tls_tickets *t, struct tls_ticket_keys *ret);

/* A key of random bytes. Returns 0 or -EIO. */
int tls_ticket_key_random(struct tls_ticket_key *ret) LB_MUST_CHECK;

/*
 * tls_ticket_keys_parse() - the keys of a file
 *
 * A line of base64 for each key, 80 bytes when decoded; empty lines and lines that begin with # are
 * skipped. The first one encrypts. Returns 0 and sets *ret, or -EINVAL and reports in `e` (the
 * place, never what stands there).
 */
int tls_ticket_keys_parse(struct tls_pem file, struct err *e,
			  struct tls_ticket_keys *ret) LB_MUST_CHECK;
