/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries are sorted by weight, then by their names' hashes, and cut into runs of one weight:
 *
 *     x:    | a a a a a a a a | a a a - - - - - | b b b b b - - - |    upper halves of the hashes
 *     run:    0                 1                 2                    - repeats the last
 *
 * Of one weight, the least hash is first, whatever the weight is; so a scan takes each run's least
 * hash, and only for these is the score computed. For a key, the hash is a bijection of x: hashes
 * are equal where the x are, which are neighbours.
 */
#include "balance/rendezvous.h"

#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "util/hash.h"

#define SEED_NAME 1u  /* part of docs/hash.md */
#define PAIR_SHIFT 15 /* likewise */
#define TABLE_BITS 10u
#define TABLE_SIZE (1u << TABLE_BITS)
#define FRACTION_BITS 32u
#define WEIGHT_BITS 26u /* of a score, so that 33 * 2^32 * 2^26 fits into 64 */

#define LANES 8 /* hashes at a time; x is padded to it */

/* A run has 128 hashes at least, and as many as it takes for all to be RENDEZVOUS_MAX_RUNS at most.
 */
#define RUN_LEAST 128
#define MAX_WEIGHTS 256
#define MAX_FULL_RUNS (RENDEZVOUS_MAX_RUNS - MAX_WEIGHTS)

struct run {
	uint32_t start, n; /* of x */
	uint32_t inverse;  /* 2^26 / weight */
};

typedef uint32_t (*least_fn)(const uint32_t *x, uint32_t n_lanes, uint32_t k1, uint32_t k2,
			     uint32_t from);

struct rendezvous {
	least_fn least;
	bool is_weighted;                 /* with equal weights the hashes alone decide */
	uint32_t log2_of[TABLE_SIZE + 1]; /* log2(1 + i / TABLE_SIZE), 32 bits behind the point */
	uint32_t n_runs;
	struct run run[RENDEZVOUS_MAX_RUNS];
	uint32_t *x;     /* owns */
	uint32_t *index; /* owns: of the entry, for each x */
};

/* ---- hashes -------------------------------------------------------------------------------------
 */

static inline uint32_t pair_hash(uint32_t x, uint32_t k1, uint32_t k2)
{
	uint32_t hash = (x ^ k1) * k2;

	hash ^= hash >> PAIR_SHIFT;
	return hash * k2;
}

/* The least (hash - from) modulo 2^32: of the hashes from `from` on, where there are some. */
static inline __attribute__((always_inline)) uint32_t
least_hash(const uint32_t *x, uint32_t n_lanes, uint32_t k1, uint32_t k2, uint32_t from)
{
	uint32_t least = UINT32_MAX;

#pragma omp simd reduction(min : least)
	for (uint32_t i = 0; i < n_lanes * LANES; i++) {
		uint32_t hash = pair_hash(x[i], k1, k2) - from;
		least = hash < least ? hash : least;
	}
	return least;
}

static uint32_t least_plain(const uint32_t *x, uint32_t n_lanes, uint32_t k1, uint32_t k2,
			    uint32_t from)
{
	return least_hash(x, n_lanes, k1, k2, from);
}

/* By a pointer and not by target_clones: the sanitizers do not bear the resolvers of those. */
#ifdef __x86_64__
#define WIDE __attribute__((target("avx2")))
#define HAS_WIDE __builtin_cpu_supports("avx2")
#else
#define WIDE
#define HAS_WIDE false
#endif

WIDE static uint32_t least_wide(const uint32_t *x, uint32_t n_lanes, uint32_t k1, uint32_t k2,
				uint32_t from)
{
	return least_hash(x, n_lanes, k1, k2, from);
}

/* log2 of x in [1, 2), given with 62 bits behind the point: a bit per squaring, exact in integers.
 */
static uint32_t log2_bits(uint64_t x)
{
	uint32_t result = 0;

	for (unsigned i = 0; i < FRACTION_BITS; i++) {
		x = (uint64_t)((unsigned __int128)x * x >> 62);
		result <<= 1;
		if (x >> 63) {
			result |= 1;
			x >>= 1;
		}
	}
	return result;
}

/* -log2(1 - (hash + 1/2) / 2^32) with 32 bits behind the point: rises with the hash, strictly. */
static uint64_t cost_of_hash(const struct rendezvous *l, uint32_t hash)
{
	uint64_t u = (uint64_t)~hash << 32 | (uint64_t)1 << 31;
	unsigned zeros = (unsigned)__builtin_clzll(u);
	uint64_t mantissa = u << zeros << 1; /* behind the leading one */
	uint32_t i = (uint32_t)(mantissa >> (64 - TABLE_BITS));
	uint64_t rest = mantissa << TABLE_BITS >> 32;
	uint64_t low = l->log2_of[i], high = l->log2_of[i + 1];
	uint64_t fraction = low + ((high - low) * rest >> 32);

	return ((uint64_t)(zeros + 1) << FRACTION_BITS) - fraction;
}

static uint64_t score_of_hash(const struct rendezvous *l, const struct run *run, uint32_t hash)
{
	return l->is_weighted ? cost_of_hash(l, hash) * run->inverse : hash;
}

/* ---- building ---------------------------------------------------------------------------------
 */

struct named {
	const char *name; /* borrowed from the backend */
	uint64_t name_hash;
	uint32_t weight, index;
};

static int compare_named(const void *a, const void *b)
{
	const struct named *x = a, *y = b;

	if (x->weight != y->weight)
		return x->weight < y->weight ? -1 : 1;
	if (x->name_hash != y->name_hash)
		return x->name_hash < y->name_hash ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Those of a weight above 0, sorted. Returns how many they are. */
static size_t sort_named(const struct members_entry *entry, size_t n, struct named *d)
{
	size_t n_named = 0;

	for (size_t i = 0; i < n; i++) {
		const char *name = entry[i].backend->name;
		if (entry[i].weight == 0)
			continue;
		d[n_named++] = (struct named){
			.name = name,
			.name_hash = hash_bytes(name, strlen(name), SEED_NAME),
			.weight = entry[i].weight,
			.index = (uint32_t)i,
		};
	}
	qsort(d, n_named, sizeof(*d), compare_named);
	return n_named;
}

static uint32_t round_up(size_t n)
{
	return (uint32_t)((n + LANES - 1) / LANES * LANES);
}

/* Lays the sorted ones out in runs. */
static void lay_out(struct rendezvous *l, const struct named *d, size_t n)
{
	uint32_t most = round_up((n + MAX_FULL_RUNS - 1) / MAX_FULL_RUNS), at = 0;

	most = most > RUN_LEAST ? most : RUN_LEAST;
	for (size_t i = 0; i < n;) {
		struct run *run = &l->run[l->n_runs++];

		*run = (struct run){ .start = at, .inverse = (1u << WEIGHT_BITS) / d[i].weight };
		for (uint32_t weight = d[i].weight; i < n && run->n < most && d[i].weight == weight;
		     i++) {
			l->x[at] = (uint32_t)(d[i].name_hash >> 32);
			l->index[at++] = d[i].index;
			run->n++;
		}
		for (; at % LANES != 0; at++)
			l->x[at] = l->x[at - 1];
	}
	l->is_weighted = n > 0 && d[0].weight != d[n - 1].weight;
}

struct rendezvous *rendezvous_new(const struct members_entry *entry, size_t n,
				  enum rendezvous_scan scan)
{
	struct rendezvous *l = calloc(1, sizeof(*l));
	struct named *d = calloc(n + 1, sizeof(*d));
	size_t n_padded = round_up(n) + (size_t)RENDEZVOUS_MAX_RUNS * LANES;

	if (l != NULL) {
		l->x = calloc(n_padded, sizeof(*l->x));
		l->index = calloc(n_padded, sizeof(*l->index));
	}
	if (l == NULL || d == NULL || l->x == NULL || l->index == NULL) {
		free(d);
		return rendezvous_free(l);
	}
	l->least = scan == RENDEZVOUS_SCAN_BEST && HAS_WIDE ? least_wide : least_plain;
	for (uint32_t i = 0; i < TABLE_SIZE; i++)
		l->log2_of[i] = log2_bits(((uint64_t)1 << 62) + ((uint64_t)i << (62 - TABLE_BITS)));
	l->log2_of[TABLE_SIZE] = UINT32_MAX;
	lay_out(l, d, sort_named(entry, n, d));
	free(d);
	return l;
}

struct rendezvous *rendezvous_free(struct rendezvous *l)
{
	if (l != NULL) {
		free(l->x);
		free(l->index);
	}
	free(l);
	return NULL;
}

/* ---- walking ----------------------------------------------------------------------------------
 */

#define K1(key) ((uint32_t)((key) >> 32))
#define K2(key) ((uint32_t)(key) | 1) /* odd: so that multiplying by it is a bijection */

/* Finds the least hash of a run from `from` on. */
static void scan_run(struct rendezvous_walk *w, uint32_t r, uint32_t from)
{
	const struct rendezvous *l = w->rendezvous;
	const struct run *run = &l->run[r];
	uint32_t distance =
		l->least(l->x + run->start, round_up(run->n) / LANES, w->k1, w->k2, from);

	w->least[r] = from + distance;
	w->score[r] = w->least[r] >= from ? score_of_hash(l, run, w->least[r]) : UINT64_MAX;
}

void rendezvous_start(const struct rendezvous *l, uint64_t key, struct rendezvous_walk *w)
{
	w->rendezvous = l;
	w->k1 = K1(key);
	w->k2 = K2(key);
	w->run = UINT32_MAX;
	for (uint32_t r = 0; r < l->n_runs; r++)
		scan_run(w, r, 0);
}

/* The first slot of a run with this hash, which one of them has. */
static uint32_t slot_of_hash(const struct rendezvous_walk *w, uint32_t r, uint32_t hash)
{
	uint32_t slot = w->rendezvous->run[r].start;

	while (pair_hash(w->rendezvous->x[slot], w->k1, w->k2) != hash)
		slot++;
	return slot;
}

/* Whether the slot behind the last one is of the same run and has the same hash. */
static bool has_twin(const struct rendezvous_walk *w)
{
	const struct run *run = &w->rendezvous->run[w->run];
	uint32_t next = w->slot + 1;

	return next < run->start + run->n && w->rendezvous->x[next] == w->rendezvous->x[w->slot];
}

size_t rendezvous_next(struct rendezvous_walk *w)
{
	const struct rendezvous *l = w->rendezvous;
	uint64_t best = UINT64_MAX;
	uint32_t best_run = 0;

	if (w->run != UINT32_MAX) {
		if (has_twin(w))
			return l->index[++w->slot];
		if (w->least[w->run] == UINT32_MAX)
			w->score[w->run] = UINT64_MAX;
		else
			scan_run(w, w->run, w->least[w->run] + 1);
	}
	/* Of equal scores the first run's: the lighter one's, or the lesser hash's. */
	for (uint32_t r = 0; r < l->n_runs; r++) {
		if (w->score[r] < best) {
			best = w->score[r];
			best_run = r;
		}
	}
	if (best == UINT64_MAX)
		return RENDEZVOUS_END;
	w->run = best_run;
	w->slot = slot_of_hash(w, best_run, w->least[best_run]);
	return l->index[w->slot];
}

size_t rendezvous_first_of(const struct rendezvous *l, uint64_t key,
			   bool (*is_met)(size_t index, void *arg), void *arg)
{
	uint64_t best = UINT64_MAX;
	size_t index = RENDEZVOUS_END;

	for (uint32_t r = 0; r < l->n_runs; r++) {
		const struct run *run = &l->run[r];

		for (uint32_t s = run->start; s < run->start + run->n; s++) {
			if (!is_met(l->index[s], arg))
				continue;
			uint64_t score =
				score_of_hash(l, run, pair_hash(l->x[s], K1(key), K2(key)));
			if (score < best) {
				best = score;
				index = l->index[s];
			}
		}
	}
	return index;
}
