/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * TLS store: what main keeps for the TLS of listeners over all configurations, and what it makes of
 * a configuration.
 *
 *   tls_store_fill()   read the files of a configuration, make its contexts, put them into its
 *                      snapshot                                    (start, each reload, `lb check`)
 *   tls_store_tick()   new keys for tickets, where they are due    (once a second)
 *
 * A context is made for each listener and worker from the worker's own library context, so that
 * workers share no locks of OpenSSL's. Keys of tickets are one set for each listener, by its name:
 * workers share the set, and it outlives reloads, so that clients resume.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/assert.h"
#include "util/err.h"
#include "util/list.h"

struct conf;
struct log;
struct snapshot;
struct tls_lib;
struct tls_tickets;

struct tls_store {
	/* private to tls_store.c */
	uint32_t n_workers;
	struct tls_lib **libs; /* owns: one for each worker; NULL before there is any TLS */
	struct list tickets;   /* of struct ticket_set */
	bool can_compact;      /* tls_check_compact() was asked, and has found nothing */
};

/* Allocates nothing. */
void tls_store_init(struct tls_store *st, uint32_t n_workers);

/* The workers have ended, and no context is left. */
void tls_store_deinit(struct tls_store *st);

/*
 * tls_store_fill() - make the contexts of a snapshot's listeners
 *
 * Reads every file of its configuration. `now_ns`, since 1970, judges certificates. Returns 0, or
 * -EINVAL or -ENOMEM with every mistake in `e`, at its place in lb.yaml, then in the file. What a
 * client may still accept is a warning there. Without TLS it does nothing.
 */
int tls_store_fill(struct tls_store *st, struct snapshot *p, uint64_t now_ns,
		   struct err *e) LB_MUST_CHECK;

/* The same for a configuration that is only checked: nothing is kept. */
void tls_store_check(const struct conf *conf, uint64_t now_ns, struct err *e);

/* Adds an error for each file of `tls` that exists and that the user of this process cannot read.
 */
void tls_store_check_access(const struct conf *conf, struct err *e);

/* The keys of a listener's tickets, if lb makes them; else NULL. Borrows. */
struct tls_tickets *tls_store_tickets(const struct tls_store *st, const char *listener);

/* Rotates the keys of tickets that are due by `conf`, and drops those of listeners that it lacks.
 * Not to be called while a delta is prepared and not committed. */
void tls_store_tick(struct tls_store *st, const struct conf *conf, uint64_t now_ms,
		    const struct log *log);
