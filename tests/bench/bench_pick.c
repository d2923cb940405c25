/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pick among 10,000 backends, by policy, while 20,000 connections are open. One operation is
 * the pick of a new connection and the end of the oldest.
 */
#include "micro.h"

#include <sys/socket.h>

#include "balance/backend.h"
#include "balance/pool.h"

#define N_BACKENDS 10000u
#define N_OPEN 20000u
#define N_PICKS 200u

struct fleet {
	const struct members *m;
	struct backend **open; /* owns references and places: a ring of the open connections */
	unsigned at;
	uint64_t random;
};

static struct backend *pick(struct fleet *f)
{
	struct pick k; /* only what the pick reads is set, as proxy/ does */

	k.key = micro_random(&f->random);
	k.random = micro_random(&f->random);
	k.n_tried = 0;
	struct backend *b = pool_pick(f->m, &k);
	MICRO_CHECK(b != NULL);
	return b;
}

static void give_back(struct backend *b)
{
	backend_release(b);
	backend_unref(b);
}

static void picks(void *arg, unsigned n)
{
	struct fleet *f = arg;

	for (unsigned i = 0; i < n; i++) {
		give_back(f->open[f->at]);
		f->open[f->at] = pick(f);
		f->at = (f->at + 1) % N_OPEN;
	}
}

static void fill_entries(struct members_entry *entries)
{
	for (unsigned i = 0; i < N_BACKENDS; i++) {
		char name[16];
		struct conf_backend c = {
			.name = name,
			.weight = 1,
			.addr = { .family = AF_INET,
				  .port = 9000,
				  .v4 = { 10, 0, (uint8_t)(i >> 8), (uint8_t)i } },
		};

		(void)snprintf(name, sizeof(name), "b%u", i);
		entries[i] = (struct members_entry){ backend_new("pool", &c, 2, 0), 1 };
		MICRO_CHECK(entries[i].backend != NULL);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		enum conf_balance balance;
		uint32_t load_percent;
	} rows[] = {
		{ "least_connections among 10,000", CONF_BALANCE_LEAST, 0 },
		{ "random among 10,000", CONF_BALANCE_RANDOM, 0 },
		{ "hash among 10,000", CONF_BALANCE_HASH, 0 },
		{ "hash among 10,000, load_factor 1.25", CONF_BALANCE_HASH, 125 },
	};
	static struct members_entry entries[N_BACKENDS];
	char name[] = "pool";
	struct conf_pool c = { .name = name };
	struct pool *pool = pool_new(&c, 0);
	struct fleet f = { .open = calloc(N_OPEN, sizeof(struct backend *)), .random = 1 };

	MICRO_CHECK(pool != NULL && f.open != NULL);
	fill_entries(entries);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct members *m = members_new(pool, rows[i].balance, rows[i].load_percent,
						entries, N_BACKENDS);

		MICRO_CHECK(m != NULL);
		f.m = m;
		for (unsigned k = 0; k < N_OPEN; k++)
			f.open[k] = pick(&f);
		micro_run(rows[i].name, picks, &f, N_PICKS, argc, argv);
		for (unsigned k = 0; k < N_OPEN; k++)
			give_back(f.open[k]);
		members_unref(m);
	}
	for (unsigned i = 0; i < N_BACKENDS; i++)
		backend_unref(entries[i].backend);
	pool_unref(pool);
	free(f.open);
	return 0;
}
