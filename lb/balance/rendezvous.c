/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weighted rendezvous hashing: the order of a pool's backends for a key.
 *
 * Terms (docs/hash.md):
 *
 *   name hash   the hash of a backend's name, 64 bits; `x` is the upper half of a name hash
 *   pair hash   the hash of a key and a backend, 32 bits: pair_hash(x, k1, k2); k1 and k2 are parts
 *               of the key
 *   cost        -log2(1 - pair hash / 2^32), in integers
 *   score       cost / weight; with equal weights the pair hash itself. The backend with the least
 *               score is the first in the key's order
 *   run         entries of one weight, sorted by name hash
 *   slot        an index of x[] and index[] (not a backend's slot)
 *   walk        going through the entries in the order of one key, one after the other
 *
 * rendezvous_new() sorts the entries by weight, then by name hash (sort_named()), and cuts them
 * into runs (lay_out()):
 *
 *     x:    | a a a a a a a a | a a a - - - - - | b b b b b - - - |    "-" repeats the last x
 *     run:    0                 1                 2
 *
 * Among entries of one weight the order of the scores is the order of the pair hashes. So a scan
 * finds the least pair hash of each run (least_hash()), and only for these few a score is computed
 * (score_of_hash()). The scan is the hot loop: it has no branches, reads 4 bytes per entry, and
 * works on eight entries at a time where the CPU has AVX2.
 *
 * A walk keeps, for each run, the least pair hash that it has not returned yet. rendezvous_start()
 * scans all runs. Each rendezvous_next() scans one run, that of the entry returned last, for the
 * run's next pair hash (scan_run()), and returns the entry with the least score of all runs.
 *
 * For one key the pair hash is a bijection of x. So two entries of a run have equal pair hashes
 * only when their x are equal, and then they are neighbours, because the run is sorted. Such
 * entries are called twins.
 *
 * Thread: any; main for rendezvous_new() and rendezvous_free(). Hot, but for these two.
 */
#include "balance/rendezvous.h"

#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "util/hash.h"

#define SEED_NAME 1u  /* docs/hash.md defines it */
#define PAIR_SHIFT 15 /* docs/hash.md defines it */
#define TABLE_BITS 10u
#define TABLE_SIZE (1u << TABLE_BITS)
#define FRACTION_BITS 32u
/* Bits of 1 / weight. A cost is at most 33 * 2^32, and 33 * 2^32 * 2^26 fits into 64 bits. */
#define WEIGHT_BITS 26u

#define LANES 8 /* pair hashes computed at a time; runs are padded to a multiple of LANES */

/*
 * A run is full when it has RUN_LEAST entries. When there are very many entries, a full run has
 * more (lay_out()), so that there are at most RENDEZVOUS_MAX_RUNS runs: at most MAX_FULL_RUNS full
 * ones, and at most one for each weight that is not full.
 */
#define RUN_LEAST 128
#define MAX_FULL_RUNS (RENDEZVOUS_MAX_RUNS - POOL_WEIGHT_MAX)

struct run {
	uint32_t start, n; /* the run is x[start] to x[start + n - 1] */
	uint32_t inverse;  /* 2^26 / weight */
};

typedef uint32_t (*least_fn)(const uint32_t *x, uint32_t n_lanes, uint32_t k1, uint32_t k2,
			     uint32_t from);

struct rendezvous {
	least_fn least;
	/* the weights differ, so that a score is not the pair hash */
	bool is_weighted;
	uint32_t log2_of[TABLE_SIZE + 1]; /* log2(1 + i / TABLE_SIZE), as a fraction of 32 bits */
	uint32_t n_runs;
	struct run run[RENDEZVOUS_MAX_RUNS];
	uint32_t *x;     /* owns */
	uint32_t *index; /* owns: index[i] is the index of the entry that x[i] is of */
};

/* ---- pair hashes and scores -------------------------------------------------------------------
 */

static inline uint32_t pair_hash(uint32_t x, uint32_t k1, uint32_t k2)
{
	uint32_t hash = (x ^ k1) * k2;

	hash ^= hash >> PAIR_SHIFT;
	return hash * k2;
}

/*
 * The least (pair hash - from) modulo 2^32 of the run at `x`. When some pair hash of the run is at
 * least `from`, the result is the distance from `from` to the least such pair hash.
 */
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

/*
 * h->least points to the function that scans, least_wide() or least_plain(). The attribute
 * target_clones would choose the function, too, but its resolvers do not work with the sanitizers.
 */
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

/*
 * log2 of `x`, as a fraction of 32 bits. `x` has 62 bits behind the binary point, and is in [1, 2).
 * Each squaring of `x` gives one bit of the result. All arithmetic is in integers, so that every
 * machine gets the same result.
 */
static uint32_t log2_bits(uint64_t x)
{
	uint32_t result = 0;

	LB_ASSERT(x >> 62 == 1);
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

/*
 * -log2(1 - (hash + 1/2) / 2^32), with 32 bits behind the binary point. A greater `hash` has a
 * greater cost.
 */
static uint64_t cost_of_hash(const struct rendezvous *h, uint32_t hash)
{
	uint64_t u = (uint64_t)~hash << 32 | (uint64_t)1 << 31;
	unsigned zeros = (unsigned)__builtin_clzll(u);
	uint64_t mantissa = u << zeros << 1; /* the bits behind the leading 1 bit */
	uint32_t i = (uint32_t)(mantissa >> (64 - TABLE_BITS));
	uint64_t rest = mantissa << TABLE_BITS >> 32;
	uint64_t low = h->log2_of[i], high = h->log2_of[i + 1];
	uint64_t fraction = low + ((high - low) * rest >> 32);

	return ((uint64_t)(zeros + 1) << FRACTION_BITS) - fraction;
}

static uint64_t score_of_hash(const struct rendezvous *h, const struct run *run, uint32_t hash)
{
	return h->is_weighted ? cost_of_hash(h, hash) * run->inverse : hash;
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

/*
 * Fills `d` with the entries of weights above 0, sorted by weight and then by name hash. Returns
 * how many entries these are.
 */
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

/* Lays the sorted entries out in runs. Returns how many elements of h->x the runs take. */
static uint32_t lay_out(struct rendezvous *h, const struct named *d, size_t n)
{
	uint32_t most = round_up((n + MAX_FULL_RUNS - 1) / MAX_FULL_RUNS), at = 0;

	most = most > RUN_LEAST ? most : RUN_LEAST;
	for (size_t i = 0; i < n;) {
		struct run *run = &h->run[h->n_runs++];

		LB_ASSERT(h->n_runs <= RENDEZVOUS_MAX_RUNS && d[i].weight <= POOL_WEIGHT_MAX);
		*run = (struct run){ .start = at, .inverse = (1u << WEIGHT_BITS) / d[i].weight };
		for (uint32_t weight = d[i].weight; i < n && run->n < most && d[i].weight == weight;
		     i++) {
			h->x[at] = (uint32_t)(d[i].name_hash >> 32);
			h->index[at++] = d[i].index;
			run->n++;
		}
		LB_ASSERT(run->n > 0); /* the padding below repeats the run's last x */
		for (; at % LANES != 0; at++)
			h->x[at] = h->x[at - 1];
	}
	h->is_weighted = n > 0 && d[0].weight != d[n - 1].weight;
	return at;
}

struct rendezvous *rendezvous_new(const struct members_entry *entry, size_t n,
				  enum rendezvous_scan scan)
{
	struct rendezvous *h = calloc(1, sizeof(*h));
	struct named *d = calloc(n + 1, sizeof(*d));
	size_t n_padded = round_up(n) + (size_t)RENDEZVOUS_MAX_RUNS * LANES;

	if (h != NULL) {
		h->x = calloc(n_padded, sizeof(*h->x));
		h->index = calloc(n_padded, sizeof(*h->index));
	}
	if (h == NULL || d == NULL || h->x == NULL || h->index == NULL) {
		free(d);
		return rendezvous_free(h);
	}
	h->least = scan == RENDEZVOUS_SCAN_BEST && HAS_WIDE ? least_wide : least_plain;
	for (uint32_t i = 0; i < TABLE_SIZE; i++) {
		h->log2_of[i] = log2_bits(((uint64_t)1 << 62) + ((uint64_t)i << (62 - TABLE_BITS)));
		LB_ASSERT(i == 0 || h->log2_of[i] > h->log2_of[i - 1]);
	}
	h->log2_of[TABLE_SIZE] = UINT32_MAX;
	uint32_t n_used = lay_out(h, d, sort_named(entry, n, d));
	LB_ASSERT(n_used <= n_padded);
	free(d);
	return h;
}

struct rendezvous *rendezvous_free(struct rendezvous *h)
{
	if (h != NULL) {
		free(h->x);
		free(h->index);
	}
	free(h);
	return NULL;
}

/* ---- walking ----------------------------------------------------------------------------------
 */

#define K1(key) ((uint32_t)((key) >> 32))
#define K2(key) ((uint32_t)(key) | 1) /* odd, so that multiplying by it is a bijection */

/* Finds the least pair hash of run `r` that is at least `from`, and its score. */
static void scan_run(struct rendezvous_walk *w, uint32_t r, uint32_t from)
{
	const struct rendezvous *h = w->rendezvous;
	const struct run *run = &h->run[r];
	uint32_t distance =
		h->least(h->x + run->start, round_up(run->n) / LANES, w->k1, w->k2, from);

	w->least[r] = from + distance;
	w->score[r] = w->least[r] >= from ? score_of_hash(h, run, w->least[r]) : UINT64_MAX;
}

void rendezvous_start(const struct rendezvous *h, uint64_t key, struct rendezvous_walk *w)
{
	w->rendezvous = h;
	w->k1 = K1(key);
	w->k2 = K2(key);
	w->run = UINT32_MAX;
	LB_ASSERT(h->n_runs <= RENDEZVOUS_MAX_RUNS); /* the size of w->least and w->score */
	for (uint32_t r = 0; r < h->n_runs; r++)
		scan_run(w, r, 0);
}

/* The first slot of run `r` with this pair hash. Some slot of the run has it. */
static uint32_t slot_of_hash(const struct rendezvous_walk *w, uint32_t r, uint32_t hash)
{
	uint32_t slot = w->rendezvous->run[r].start;

	while (pair_hash(w->rendezvous->x[slot], w->k1, w->k2) != hash)
		slot++;
	LB_ASSERT(slot < w->rendezvous->run[r].start + w->rendezvous->run[r].n);
	return slot;
}

/*
 * Whether the slot behind w->slot, which was returned last, is of the same run and has the same
 * pair hash.
 */
static bool has_twin(const struct rendezvous_walk *w)
{
	const struct run *run = &w->rendezvous->run[w->run];
	uint32_t next = w->slot + 1;

	return next < run->start + run->n && w->rendezvous->x[next] == w->rendezvous->x[w->slot];
}

size_t rendezvous_next(struct rendezvous_walk *w)
{
	const struct rendezvous *h = w->rendezvous;
	uint64_t best = UINT64_MAX;
	uint32_t best_run = 0;

	if (w->run != UINT32_MAX) {
		LB_ASSERT(w->run < h->n_runs && w->slot - h->run[w->run].start < h->run[w->run].n);
		if (has_twin(w))
			return h->index[++w->slot];
		if (w->least[w->run] == UINT32_MAX)
			w->score[w->run] = UINT64_MAX;
		else
			scan_run(w, w->run, w->least[w->run] + 1);
	}
	/*
	 * When runs have equal scores, the first of these runs is taken. It has the lesser weight,
	 * or, among runs of one weight, the lesser name hashes.
	 */
	for (uint32_t r = 0; r < h->n_runs; r++) {
		if (w->score[r] < best) {
			best = w->score[r];
			best_run = r;
		}
	}
	if (best == UINT64_MAX)
		return RENDEZVOUS_END;
	w->run = best_run;
	w->slot = slot_of_hash(w, best_run, w->least[best_run]);
	return h->index[w->slot];
}

size_t rendezvous_first_of(const struct rendezvous *h, uint64_t key,
			   bool (*is_met)(size_t index, void *arg), void *arg)
{
	uint64_t best = UINT64_MAX;
	size_t index = RENDEZVOUS_END;

	for (uint32_t r = 0; r < h->n_runs; r++) {
		const struct run *run = &h->run[r];

		for (uint32_t s = run->start; s < run->start + run->n; s++) {
			if (!is_met(h->index[s], arg))
				continue;
			uint64_t score =
				score_of_hash(h, run, pair_hash(h->x[s], K1(key), K2(key)));
			if (score < best) {
				best = score;
				index = h->index[s];
			}
		}
	}
	return index;
}
