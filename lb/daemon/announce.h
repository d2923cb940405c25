/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Announcements: the log's lines about which addresses lb listens on, and how a stop went.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdint.h>

struct delta;
struct log;
struct message_quit;
struct registry;
struct threads;

/*
 * announce_listeners() - log a line for each address that `d` adds or removes
 *
 * Call after the sockets of `d` listen, before delta_commit() replaces the registry's listeners.
 */
void announce_listeners(const struct log *log, const struct registry *reg, const struct delta *d);

/* Counts the connections that end during a stop. All members are zero before the stop. */
struct stop_count {
	uint64_t n_ended_before; /* connections that had ended when the stop began */
	/* connections that have ended since lb started, summed over the replies to QUIT that have
	 * come; n_cut: those of them that QUIT ended */
	uint64_t n_ended, n_cut;
};

/* Call when a stop begins: connections that end from now on are counted. */
void announce_count_from_now(struct stop_count *s, const struct threads *t);

/* Call when a worker has ended. `m` is the worker's reply to QUIT. */
void announce_count(struct stop_count *s, const struct message_quit *m);

/* Call when every worker has ended. Logs how many connections ended by themselves, and how many
 * QUIT ended. */
void announce_stopped(const struct log *log, const struct stop_count *s);
