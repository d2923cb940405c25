/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Announcements: the log's lines about which addresses lb listens on, and how a stop went.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdint.h>

struct control;
struct delta;
struct order;

/*
 * announce_listeners() - a line for each address that `d` adds, and for each that it removes
 *
 * Call after the sockets of `d` listen, before registry_commit() forgets what was there.
 */
void announce_listeners(const struct control *c, const struct delta *d);

/* Ended connections of a stop; all zero at the beginning. */
struct stop_count {
	uint64_t n_ended_before; /* connections that had ended when the stop began */
	uint64_t n_ended, n_cut; /* all that have ended, and those of them that lb ended by QUIT */
};

/* A stop begins: connections that end are counted from now on. */
void announce_count_from_now(struct control *c);

/* A worker has ended: `o` is its answer to QUIT. */
void announce_count(struct control *c, const struct order *o);

/* All have: how many connections ended by themselves since the stop began, how many were cut. */
void announce_stopped(const struct control *c);
