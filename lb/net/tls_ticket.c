/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ticket keys that one thread writes and others read without a lock.
 *
 * A generation is a set of keys. The last N_GENERATIONS of them lie in a ring; `current` is the
 * number of the newest one. A writer fills the slot of the next number, which no reader has been
 * sent to since the generation of N_GENERATIONS before, and then raises `current`. A reader copies
 * the slot of the current number and looks again: only when the number has meanwhile gone on so far
 * that its slot was being filled does the reader copy once more. Keys change every some hours, so
 * that it does not happen.
 */
#include "net/tls_ticket.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "util/ref.h"

#define N_GENERATIONS 4u
#define N_WORDS (sizeof(struct tls_ticket_keys) / sizeof(uint64_t))
_Static_assert(sizeof(struct tls_ticket_keys) % sizeof(uint64_t) == 0, "whole words");

/* 80 bytes in base64, with padding. */
#define KEY_TEXT_BYTES 108u

struct tls_tickets {
	struct ref ref;
	atomic_uint current;
	_Atomic uint64_t word[N_GENERATIONS][N_WORDS];
};

/* Fills the next slot, then makes it the current one. */
static void publish(struct tls_tickets *t, const struct tls_ticket_keys *keys)
{
	unsigned next = atomic_load_explicit(&t->current, memory_order_relaxed) + 1;
	uint64_t word[N_WORDS];

	LB_ASSERT(keys->n > 0 && keys->n <= TLS_TICKET_KEYS);
	memcpy(word, keys, sizeof(word));
	/* Release: a reader that sees a word of this generation also sees that `current` has
	 * reached the generation before. */
	for (size_t i = 0; i < N_WORDS; i++)
		atomic_store_explicit(&t->word[next % N_GENERATIONS][i], word[i],
				      memory_order_release);
	atomic_store_explicit(&t->current, next, memory_order_release);
	OPENSSL_cleanse(word, sizeof(word));
}

struct tls_tickets *tls_tickets_new(const struct tls_ticket_keys *keys)
{
	struct tls_tickets *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	ref_init(&t->ref);
	publish(t, keys);
	return t;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *t)
{
	ref_get(&t->ref);
	return t;
}

struct tls_tickets *tls_tickets_unref(struct tls_tickets *t)
{
	if (t == NULL || !ref_put(&t->ref))
		return NULL;
	OPENSSL_cleanse(t, sizeof(*t));
	free(t);
	return NULL;
}

void tls_tickets_set(struct tls_tickets *t, const struct tls_ticket_keys *keys)
{
	publish(t, keys);
}

void tls_tickets_rotate(struct tls_tickets *t, const struct tls_ticket_key *fresh)
{
	struct tls_ticket_keys keys;

	tls_tickets_get(t, &keys);
	LB_ASSERT(keys.n > 0 && keys.n <= TLS_TICKET_KEYS);
	memmove(keys.key + 1, keys.key, sizeof(keys.key) - sizeof(keys.key[0]));
	keys.key[0] = *fresh;
	keys.n += keys.n < TLS_TICKET_KEYS;
	publish(t, &keys);
	OPENSSL_cleanse(&keys, sizeof(keys));
}

void tls_tickets_get(const struct tls_tickets *t, struct tls_ticket_keys *ret)
{
	uint64_t word[N_WORDS];
	unsigned before = atomic_load_explicit(&t->current, memory_order_acquire), after;

	for (;;) {
		for (size_t i = 0; i < N_WORDS; i++)
			word[i] = atomic_load_explicit(&t->word[before % N_GENERATIONS][i],
						       memory_order_acquire);
		after = atomic_load_explicit(&t->current, memory_order_relaxed);
		/* The slot of `before` is filled again when `current` is N_GENERATIONS - 1 further.
		 */
		if (after - before < N_GENERATIONS - 1)
			break;
		before = after;
	}
	memcpy(ret, word, sizeof(word));
	OPENSSL_cleanse(word, sizeof(word));
	LB_ASSERT(ret->n > 0 && ret->n <= TLS_TICKET_KEYS);
}

int tls_ticket_key_random(struct tls_ticket_key *ret)
{
	struct tls_ticket_key key;

	if (RAND_bytes(key.name, sizeof(key.name)) != 1 ||
	    RAND_priv_bytes(key.aes, sizeof(key.aes)) != 1 ||
	    RAND_priv_bytes(key.hmac, sizeof(key.hmac)) != 1)
		return -EIO;
	*ret = key;
	OPENSSL_cleanse(&key, sizeof(key));
	return 0;
}

/* One line of base64, without its end. */
static bool parse_line(struct slice line, struct tls_ticket_key *ret)
{
	uint8_t bytes[KEY_TEXT_BYTES / 4 * 3];

	if (line.n != KEY_TEXT_BYTES || line.p[line.n - 1] != '=' || line.p[line.n - 2] == '=' ||
	    EVP_DecodeBlock(bytes, (const unsigned char *)line.p, KEY_TEXT_BYTES) !=
		    (int)sizeof(bytes))
		return false;
	memcpy(ret, bytes, sizeof(*ret));
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return true;
}

int tls_ticket_keys_parse(struct tls_pem file, struct err *e, struct tls_ticket_keys *ret)
{
	struct tls_ticket_keys keys = { 0 };
	struct mark at = { .file = file.file, .col = 1 };
	const char *p = file.text.p, *end = p + file.text.n;
	int r = 0;

	while (p < end && r == 0) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		struct slice line = { .p = p, .n = (size_t)((stop != NULL ? stop : end) - p) };

		p = stop != NULL ? stop + 1 : end;
		at.line++;
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n == 0 || line.p[0] == '#')
			continue;
		if (keys.n == TLS_TICKET_KEYS)
			r = err_at(e, at, "more than %u keys of tickets: remove the oldest ones",
				   TLS_TICKET_KEYS);
		else if (!parse_line(line, &keys.key[keys.n++]))
			r = err_at(
				e, at,
				"this line is no key of tickets, which is %u bytes in base64 (%u "
				"characters); \"openssl rand 80 | base64 -w 0\" makes one",
				TLS_TICKET_KEY_BYTES, KEY_TEXT_BYTES);
	}
	if (r == 0 && keys.n == 0)
		r = err_at(e, (struct mark){ .file = file.file },
			   "no key of tickets; \"openssl rand 80 | base64 -w 0\" makes one");
	if (r == 0)
		*ret = keys;
	OPENSSL_cleanse(&keys, sizeof(keys));
	return r;
}
