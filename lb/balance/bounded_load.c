/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block's sum is exchanged for the new one and the total changed by the difference, so that the
 * total is the sum of the blocks whenever nobody is about it, however many workers there are.
 * Relaxed: the numbers guard nothing, and a pick may take them while another changes them.
 */
#include "balance/bounded_load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/member.h"

#define BLOCK 32 /* entries */

struct sums {
	_Atomic uint64_t active, weight;
};

struct bounded_load {
	uint32_t n_blocks;
	LB_CACHE_ALIGNED _Atomic uint32_t turn; /* whose block is summed next */
	struct sums total;
	LB_CACHE_ALIGNED struct sums block[];
};

static void change(_Atomic uint64_t *part, _Atomic uint64_t *total, uint64_t to)
{
	uint64_t from = atomic_load_explicit(part, memory_order_relaxed);

	if (from == to)
		return;
	from = atomic_exchange_explicit(part, to, memory_order_relaxed);
	atomic_fetch_add_explicit(total, to - from, memory_order_relaxed);
}

static void sum_block(const struct members *m, uint32_t block)
{
	struct bounded_load *s = m->bounded_load;
	size_t start = (size_t)block * BLOCK, end = start + BLOCK < m->n ? start + BLOCK : m->n;
	struct bounded_load_sums sums = { 0 };

	for (size_t i = start; i < end; i++) {
		if (!member_has_room(&m->entry[i]))
			continue;
		sums.active += backend_active(m->entry[i].backend);
		sums.weight += m->entry[i].weight;
	}
	change(&s->block[block].active, &s->total.active, sums.active);
	change(&s->block[block].weight, &s->total.weight, sums.weight);
}

int bounded_load_build(struct members *m)
{
	uint32_t n_blocks = (uint32_t)((m->n + BLOCK - 1) / BLOCK);
	size_t size = sizeof(struct bounded_load) + n_blocks * sizeof(struct sums);
	size_t align = _Alignof(struct bounded_load);

	size = (size + align - 1) / align * align;
	m->bounded_load = aligned_alloc(align, size);
	if (m->bounded_load == NULL)
		return -ENOMEM;
	memset(m->bounded_load, 0, size);
	m->bounded_load->n_blocks = n_blocks;
	for (uint32_t b = 0; b < n_blocks; b++)
		sum_block(m, b);
	return 0;
}

struct bounded_load *bounded_load_free(struct bounded_load *s)
{
	free(s);
	return NULL;
}

uint32_t bounded_load_delay(const struct bounded_load *s)
{
	return s->n_blocks;
}

/* Differences reach a total in any order: it may be below 0 for a moment. */
static uint64_t total(const _Atomic uint64_t *from)
{
	uint64_t n = atomic_load_explicit(from, memory_order_relaxed);

	return n <= INT64_MAX ? n : 0;
}

struct bounded_load_sums bounded_load_sums(const struct bounded_load *s)
{
	return (struct bounded_load_sums){
		.active = total(&s->total.active),
		.weight = total(&s->total.weight),
	};
}

void bounded_load_note(const struct members *m, const struct members_entry *e)
{
	struct bounded_load *s = m->bounded_load;
	uint32_t turn = atomic_fetch_add_explicit(&s->turn, 1, memory_order_relaxed);

	atomic_fetch_add_explicit(&s->block[(size_t)(e - m->entry) / BLOCK].active, 1,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&s->total.active, 1, memory_order_relaxed);
	sum_block(m, turn % s->n_blocks);
}
