/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums from which the policy hash computes the mean load of many members.
 *
 * Terms. The mean load is the number of connections of all members that have a free slot, divided
 * by the sum of these members' weights. An entry is a member in the array of members. A block is
 * BLOCK entries that are neighbours. A block has two sums, of its entries that have a free slot
 * (member_has_free_slot()): the sum of their connections, and the sum of their weights. The totals
 * are these two sums over all blocks.
 *
 *     entries:  | 0 ... 31 | 32 ... 63 | 64 ... 95 | ...        BLOCK entries each
 *     block[]:  | sums     | sums      | sums      | ...
 *     total:    the two sums over all blocks
 *
 * bounded_load_build() sums all blocks, when main makes the members. A pick of the policy hash
 * reads the totals (bounded_load_sums()), computes the bound of a backend from them, and reserves a
 * slot within that bound. Then bounded_load_note() adds the slot to the sums of its block and to
 * the totals, and calls sum_block() for one block, at each pick for the next block. sum_block()
 * computes the sums of the block anew. Some events change a load without a pick: the end of a
 * connection, a check, a command. After n_blocks picks, the sums contain these changes, too.
 *
 * change() stores a block's new sum in two steps: it exchanges the old sum for the new one, and
 * adds the difference to the total. Each difference is added exactly once, and the order of
 * additions does not matter. So each total is the sum over the blocks whenever no worker is between
 * the two steps. bounded_load_free() asserts that.
 *
 * All accesses are relaxed, because the sums publish no other memory. When a pick reads a total
 * while other workers change it, the pick uses a bound that was right a moment before, or will be
 * right a moment later.
 *
 * Thread: any; main for bounded_load_build(). Hot, but for build and free.
 */
#include "balance/bounded_load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/member.h"

#define BLOCK 32 /* entries in a block */

struct sums {
	_Atomic uint64_t active, weight;
};

struct bounded_load {
	uint32_t n_blocks;
	/* Goes up by one at each pick; turn % n_blocks is the block that this pick sums anew. */
	LB_CACHE_ALIGNED _Atomic uint32_t turn;
	struct sums total;
	LB_CACHE_ALIGNED struct sums block[];
};

/*
 * Sets *part, a sum of a block, to `to`, and adds the difference to *total. Stores nothing when
 * *part is `to` already.
 */
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

	LB_ASSERT(block < s->n_blocks && start < end && end - start <= BLOCK);
	for (size_t i = start; i < end; i++) {
		if (!member_has_free_slot(&m->entry[i]))
			continue;
		sums.active += backend_active(m->entry[i].backend);
		sums.weight += m->entry[i].weight;
	}
	change(&s->block[block].active, &s->total.active, sums.active);
	change(&s->block[block].weight, &s->total.weight, sums.weight);
}

/*
 * Reads a total. Workers add their differences in any order, so a total may be below 0 for a
 * moment; it then counts as 0.
 */
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

/*
 * Asserts that each total is the sum over the blocks. To be called while no worker is in change().
 */
static void assert_totals(const struct bounded_load *s)
{
	struct bounded_load_sums sums = { 0 };

	for (uint32_t b = 0; b < s->n_blocks; b++) {
		sums.active += atomic_load_explicit(&s->block[b].active, memory_order_relaxed);
		sums.weight += atomic_load_explicit(&s->block[b].weight, memory_order_relaxed);
	}
	LB_ASSERT(sums.active == atomic_load_explicit(&s->total.active, memory_order_relaxed));
	LB_ASSERT(sums.weight == atomic_load_explicit(&s->total.weight, memory_order_relaxed));
}

int bounded_load_build(struct members *m)
{
	LB_ASSERT(m->n > 0 && m->bounded_load == NULL);
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
	assert_totals(m->bounded_load);
	LB_ASSERT(bounded_load_sums(m->bounded_load).weight <= m->total_weight);
	return 0;
}

struct bounded_load *bounded_load_free(struct bounded_load *s)
{
	if (s != NULL)
		assert_totals(s); /* no worker uses the sums any more */
	free(s);
	return NULL;
}

uint32_t bounded_load_delay(const struct bounded_load *s)
{
	return s->n_blocks;
}

void bounded_load_note(const struct members *m, const struct members_entry *e)
{
	struct bounded_load *s = m->bounded_load;
	uint32_t turn = atomic_fetch_add_explicit(&s->turn, 1, memory_order_relaxed);

	LB_ASSERT(e >= m->entry && e < m->entry + m->n);
	atomic_fetch_add_explicit(&s->block[(size_t)(e - m->entry) / BLOCK].active, 1,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&s->total.active, 1, memory_order_relaxed);
	sum_block(m, turn % s->n_blocks);
}
