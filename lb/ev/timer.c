/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wheel has levels of 64 slots; a slot of level n covers 64^n ms. A timer is put at the level
 * of the highest 6-bit group in which its time differs from now, into the slot that this group
 * names:
 *
 *   at_ms  = ... | 101101 | 000111 | 010010        level 1 differs first (from the left)
 *   now_ms = ... | 101101 | 000100 | 111000        -> level 1, slot 000111
 *
 * When the time's group of level n changes, the timers of the slot it comes to move down. So each
 * timer moves at most TIMER_LEVELS times, and nothing is looked at that is not due.
 *
 * Thread: the loop's. Hot.
 */
#include "ev/timer.h"

#include <stddef.h>
#include <string.h>

#include "util/assert.h"

#define GROUP_BITS 6u
#define MAX_AHEAD (((uint64_t)1 << (GROUP_BITS * TIMER_LEVELS)) - 1)

static unsigned group(uint64_t ms, unsigned level)
{
	return (unsigned)(ms >> (GROUP_BITS * level)) & (TIMER_SLOTS - 1);
}

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms, void *arg)
{
	memset(w, 0, sizeof(*w));
	w->arg = arg;
	w->now_ms = now_ms;
}

void timer_init(struct timer *t, timer_fn fn)
{
	*t = (struct timer){ .fn = fn };
}

static void link_into(struct timer **head, struct timer *t)
{
	t->next = *head;
	if (t->next != NULL)
		t->next->link = &t->next;
	t->link = head;
	*head = t;
}

/* Level 0 holds what is due within 64 ms; what is due now fires at the next advance, in slot now.
 */
static void insert(struct timer_wheel *w, struct timer *t)
{
	uint64_t differs = t->at_ms ^ w->now_ms;
	unsigned level = differs == 0 ? 0 : (63u - (unsigned)__builtin_clzll(differs)) / GROUP_BITS;

	LB_DASSERT(level < TIMER_LEVELS);
	unsigned slot = group(t->at_ms, level);
	link_into(&w->slot[level][slot], t);
	w->occupied[level] |= (uint64_t)1 << slot;
}

void timer_stop(struct timer_wheel *w, struct timer *t)
{
	if (t->link == NULL)
		return;
	*t->link = t->next;
	if (t->next != NULL)
		t->next->link = t->link;

	/* The link of a slot's only timer is the slot itself: its bit goes with it. */
	struct timer **first = &w->slot[0][0];
	if (*t->link == NULL && t->link >= first && t->link < first + TIMER_LEVELS * TIMER_SLOTS) {
		size_t i = (size_t)(t->link - first);
		w->occupied[i / TIMER_SLOTS] &= ~((uint64_t)1 << i % TIMER_SLOTS);
	}
	t->link = NULL;
	t->next = NULL;
}

void timer_start(struct timer_wheel *w, struct timer *t, uint64_t in_ms)
{
	timer_stop(w, t);
	/* Far ones are clamped within the top level's reach: they wake too early, years from now.
	 */
	uint64_t reach = MAX_AHEAD - (w->now_ms & MAX_AHEAD);
	t->at_ms = w->now_ms + (in_ms < reach ? in_ms : reach);
	insert(w, t);
}

/* Takes a slot's timers out, as a list of their own that timer_stop() may still unlink from. */
static void take_slot(struct timer_wheel *w, unsigned level, unsigned slot, struct timer **list)
{
	*list = w->slot[level][slot];
	if (*list != NULL)
		(*list)->link = list;
	w->slot[level][slot] = NULL;
	w->occupied[level] &= ~((uint64_t)1 << slot);
}

static struct timer *pop(struct timer **list)
{
	struct timer *t = *list;

	*list = t->next;
	if (t->next != NULL)
		t->next->link = list;
	t->next = NULL;
	t->link = NULL;
	return t;
}

/* Moves down what the levels above hold for this very time. */
static void cascade(struct timer_wheel *w)
{
	struct timer *list;

	for (unsigned level = TIMER_LEVELS - 1; level > 0; level--) {
		take_slot(w, level, group(w->now_ms, level), &list);
		while (list != NULL)
			insert(w, pop(&list));
	}
}

/* The next time at which a slot may hold something due, after now; UINT64_MAX: none. */
static uint64_t next_ms(const struct timer_wheel *w)
{
	for (unsigned level = 0; level < TIMER_LEVELS; level++) {
		unsigned here = group(w->now_ms, level);
		/* Slots behind `here` in its level; those before it belong to the next round, which
		   a higher level holds. */
		uint64_t ahead = here == TIMER_SLOTS - 1
					 ? 0
					 : w->occupied[level] & ~(uint64_t)0 << (here + 1);
		if (ahead == 0)
			continue;
		unsigned slot = (unsigned)__builtin_ctzll(ahead);
		uint64_t span = (uint64_t)1 << (GROUP_BITS * (level + 1));
		uint64_t base = w->now_ms & ~(span - 1);
		return base + ((uint64_t)slot << (GROUP_BITS * level));
	}
	return UINT64_MAX;
}

static void fire_now(struct timer_wheel *w)
{
	struct timer *due;

	take_slot(w, 0, group(w->now_ms, 0), &due);
	/* What is started meanwhile for the same time goes to the slot, not to this list. */
	while (due != NULL) {
		struct timer *t = pop(&due);
		t->fn(t, w->arg);
	}
}

void timer_wheel_advance(struct timer_wheel *w, uint64_t now_ms)
{
	fire_now(w);
	while (w->now_ms < now_ms) {
		uint64_t next = next_ms(w);
		bool is_later = next > now_ms;

		w->now_ms = is_later ? now_ms : next;
		if (is_later)
			break;
		cascade(w);
		fire_now(w);
	}
}

uint64_t timer_wheel_wait_ms(const struct timer_wheel *w)
{
	if (w->slot[0][group(w->now_ms, 0)] != NULL)
		return 0;
	uint64_t next = next_ms(w);
	return next == UINT64_MAX ? UINT64_MAX : next - w->now_ms;
}
