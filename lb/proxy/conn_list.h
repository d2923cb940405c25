/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A list of a worker's connections that meet the conditions of a filter. When more connections meet
 * them than the filter's limit allows, the list has only the first ones in the filter's order.
 *
 * Thread: one at a time; the worker adds rows, then main reads them. Layer: proxy.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"
#include "util/sockaddr.h"

struct backend;
struct session;

enum conn_sort {
	CONN_UNSORTED,
	CONN_BY_AGE,   /* the oldest connections come first */
	CONN_BY_BYTES, /* the connections that have moved most bytes come first */
};

/* Which connections are listed, how many of them, and in which order. */
struct conn_filter {
	char pool[64], backend[64]; /* "": every pool, every backend */
	bool has_client;
	struct cidr client;
	uint64_t min_age_ns;
	enum conn_sort sort;
	uint32_t limit; /* at most this many rows; further connections are only counted */
};

/* One connection, as it was when it was added to the list. */
struct conn_row {
	uint64_t id;
	struct addr client;
	const char *listener;    /* borrows: a counted name (names.h) */
	struct backend *backend; /* counted; NULL: no backend was picked yet */
	char pool[64];           /* "": the pool is not known yet */
	/* Constants. `state` joins the states of the connection and its request in one word.
	 * `request_state` is "" when no request is under way. */
	const char *state, *conn_state, *request_state;
	uint64_t age_ns;
	uint64_t bytes_in, bytes_out;
	/* Rows with a greater rank come first in the filter's order; 0 in an unsorted list. */
	uint64_t rank;
};

/* An empty list is one whose filter is set and whose other members are zero. */
struct conn_list {
	struct conn_filter filter;

	/* written by conn_list_add() */
	uint64_t n_matching; /* connections that meet the filter's conditions, listed or not */
	size_t n_rows, rows_cap;
	/* Owns the array, counts the backends. The rows of a sorted list are a heap: the root,
	 * rows[0], has the smallest rank. */
	struct conn_row *rows;
};

/*
 * conn_list_add() - add a session's connection if the filter wants it
 *
 * When the list is full, a connection whose rank is greater than the smallest rank in the list
 * replaces that row; any other connection is only counted. Returns 0, or -ENOMEM: the connection is
 * counted, but not listed. Thread: the session's worker.
 */
int conn_list_add(struct conn_list *l, const struct session *s, uint64_t now_ns) LB_MUST_CHECK;

/* Frees the rows, and gives back their references to backends. */
void conn_list_deinit(struct conn_list *l);
