/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A list of a worker's connections: those that meet a filter's conditions, all of them or the first
 * ones by an order.
 *
 * Thread: any, one at a time; the worker adds rows, main reads them. Layer: proxy.
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
	CONN_BY_AGE,   /* the oldest are listed */
	CONN_BY_BYTES, /* those that have moved most are listed */
};

/* Which connections a list has. */
struct conn_filter {
	char pool[64], backend[64]; /* "": any */
	bool has_client;
	struct cidr client;
	uint64_t min_age_ns;
	enum conn_sort sort;
	uint32_t limit; /* rows at most; connections beyond are counted only */
};

/* One connection, as it is at the moment when it is added. */
struct conn_row {
	uint64_t id;
	struct addr client;
	const char *listener;    /* interned (names.h): borrows */
	struct backend *backend; /* counted; NULL: not picked yet */
	char pool[64];           /* "": not routed yet */
	/* Constants. `state` is one word for both; request_state is "" while no request is under
	 * way. */
	const char *state, *conn_state, *request_state;
	uint64_t age_ns;
	uint64_t bytes_in, bytes_out;
	uint64_t rank; /* by the filter's order: greater ones first; 0 where unsorted */
};

/* A list is empty when all but its filter is zeroed. */
struct conn_list {
	struct conn_filter filter;

	/* written by conn_list_add() */
	uint64_t n_matching; /* connections that meet the filter's conditions, listed or not */
	size_t n_rows, rows_cap;
	struct conn_row *rows; /* owns the array, counts the backends; where sorted and full, a heap
				* whose root is the row with the smallest rank */
};

/*
 * conn_list_add() - add a session's connection if the filter wants it
 *
 * Where the list is full, the connection takes the place of the one with the smallest rank, or is
 * counted only. Returns 0, or -ENOMEM: the connection is counted, and not in the list.
 * Thread: the session's worker.
 */
int conn_list_add(struct conn_list *l, const struct session *s, uint64_t now_ns) LB_MUST_CHECK;

/* Gives back the rows and their backends. */
void conn_list_deinit(struct conn_list *l);
