/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pick among 100, 1,000 and 10,000 backends, by policy, while twice as many connections are open.
 * One operation is the pick of a new connection and the end of the oldest.
 */
#include "micro.h"

#include <sys/socket.h>

#include "balance/backend.h"
#include "balance/pool.h"

#define N_BACKENDS 10000u
#define N_PICKS 200u

struct held {
	const struct members *m;
	struct backend **open; /* owns references and slots: a ring of the open connections */
	unsigned n_open, at;
	uint64_t random;
};

static struct backend *pick(struct held *f)
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
	struct held *f = arg;

	for (unsigned i = 0; i < n; i++) {
		give_back(f->open[f->at]);
		f->open[f->at] = pick(f);
		f->at = (f->at + 1) % f->n_open;
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

/* Names one of the rows below. */
struct row {
	const char *name;
	enum conf_balance balance;
	uint32_t load_percent;
};

static void run(const struct row *row, struct pool *pool, const struct members_entry *entries,
		unsigned n, int argc, char **argv)
{
	struct members *m = members_new(pool, row->balance, row->load_percent, entries, n);
	struct held f = { .m = m, .n_open = 2 * n, .random = 1 };
	char name[64];

	f.open = calloc(f.n_open, sizeof(struct backend *));
	MICRO_CHECK(m != NULL && f.open != NULL);
	for (unsigned i = 0; i < f.n_open; i++)
		f.open[i] = pick(&f);
	(void)snprintf(name, sizeof(name), "%s among %u", row->name, n);
	micro_run(name, picks, &f, N_PICKS, argc, argv);
	for (unsigned i = 0; i < f.n_open; i++)
		give_back(f.open[i]);
	free(f.open);
	members_unref(m);
}

int main(int argc, char **argv)
{
	static const struct row rows[] = {
		{ "least_connections", CONF_BALANCE_LEAST, 0 },
		{ "random", CONF_BALANCE_RANDOM, 0 },
		{ "hash", CONF_BALANCE_HASH, 0 },
		{ "hash, load_factor 1.25,", CONF_BALANCE_HASH, 125 },
	};
	static const unsigned sizes[] = { 100, 1000, N_BACKENDS };
	static struct members_entry entries[N_BACKENDS];
	char name[] = "pool";
	struct conf_pool c = { .name = name };
	struct pool *pool = pool_new(&c, 0);

	MICRO_CHECK(pool != NULL);
	fill_entries(entries);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++)
			run(&rows[i], pool, entries, sizes[k], argc, argv);
	for (unsigned i = 0; i < N_BACKENDS; i++)
		backend_unref(entries[i].backend);
	pool_unref(pool);
	return 0;
}
