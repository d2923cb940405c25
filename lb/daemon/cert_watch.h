/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Certificate watch: warns in the log of certificates that come to their end.
 *
 * Each certificate in force gets one warning when 30, 14, 7 and 1 days are left, and one when it
 * has expired. One that has expired before it was loaded is told by the load.
 *
 * Thread: main. Layer: daemon.
 */

#include <stddef.h>
#include <stdint.h>

struct log;
struct snapshot;

struct cert_seen;

struct cert_watch {
	/* private to cert_watch.c */
	size_t n;
	struct cert_seen *seen;    /* owns; sorted, without doubles */
	const struct snapshot *of; /* for comparison only */
	uint64_t next_s;           /* when to look again, since 1970 */
};

#define CERT_WATCH_INIT ((struct cert_watch){ 0 })

/* Looks at the certificates of the snapshot in force. `now_s` is since 1970. Cheap, so that it can
 * be called once a second. */
void cert_watch_tick(struct cert_watch *w, const struct snapshot *p, uint64_t now_s,
		     const struct log *log);

void cert_watch_deinit(struct cert_watch *w);

/* Whole days until `not_after_s`, rounded down: negative once it has passed. */
int64_t cert_days_left(int64_t not_after_s, uint64_t now_s);
