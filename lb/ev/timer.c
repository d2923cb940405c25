/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timers of one loop: a hierarchical timing wheel.
 *
 * Terms. A slot is a list of timers. A level is 64 slots; a slot of level n covers 64^n ms. A group
 * is six bits of a time in ms: group n of a time selects the slot of level n. now_ms is the time up
 * to which the wheel has fired; clock_ms is the time that was last read, from which starts count.
 * clock_ms is ahead of now_ms while the completions of a turn are dispatched.
 *
 * Start. timer_start() computes the time at which the timer is due, and insert() puts the timer
 * into a slot. insert() compares the timer's time with now_ms from the highest group down. The
 * first group that differs gives the level, and its value in the timer's time gives the slot:
 *
 *   at_ms  = ... | 101101 | 000111 | 010010        group 1 differs first (from the left)
 *   now_ms = ... | 101101 | 000100 | 111000        -> level 1, slot 000111
 *
 * Expiry. timer_wheel_advance() goes from one occupied slot to the next (next_ms(), by the bits in
 * `occupied`), and sets now_ms to the slot's time. cascade() then moves the timers of the slots of
 * higher levels that begin at that time to lower levels. What lies in the slot of level 0 is due.
 * So a timer moves at most TIMER_LEVELS times, and no timer is looked at before it has to move or
 * fire.
 *
 * The top level goes round: its slots before the current one are for times after the next wrap. A
 * timer that is farther away than one round is put into the farthest slot, and from there again.
 *
 * Stop. A timer has a pointer to the pointer that points to it (`link`), so it is unlinked without
 * looking for it. When it was the only one of its slot, `link` is the slot itself, and the slot's
 * bit in `occupied` is cleared.
 *
 * Firing. All due timers are moved to a list on the stack before the first one fires, and are taken
 * from it one by one: a timer_fn may stop a timer that is due in the same advance. A timer that a
 * timer_fn starts is not fired before the next advance, even with a time of 0.
 *
 * Thread: the loop's. Hot.
 */
#include "ev/timer.h"

#include <stddef.h>
#include <string.h>

#include "util/assert.h"

#define GROUP_BITS 6u
#define TOP (TIMER_LEVELS - 1)
#define TOP_FARTHEST ((uint64_t)(TIMER_SLOTS - 2) << (GROUP_BITS * TOP))

static unsigned group(uint64_t ms, unsigned level)
{
	return (unsigned)(ms >> (GROUP_BITS * level)) & (TIMER_SLOTS - 1);
}

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms, void *arg)
{
	memset(w, 0, sizeof(*w));
	w->arg = arg;
	w->now_ms = w->clock_ms = now_ms;
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

/* Puts a timer into its slot. When it is due at now_ms, it fires in the next advance. */
static void insert(struct timer_wheel *w, struct timer *t)
{
	LB_ASSERT(t->link == NULL && t->fn != NULL);
	uint64_t differs = t->at_ms ^ w->now_ms;
	uint64_t at_ms = t->at_ms;
	unsigned level = differs == 0 ? 0 : (63u - (unsigned)__builtin_clzll(differs)) / GROUP_BITS;

	LB_ASSERT(at_ms >= w->now_ms);
	if (level >= TIMER_LEVELS) {
		level = TOP;
		if (at_ms - w->now_ms > TOP_FARTHEST)
			at_ms = w->now_ms + TOP_FARTHEST;
	}
	unsigned slot = group(at_ms, level);
	/* In the current slot the timer would fire a whole round late. */
	LB_ASSERT(level == 0 || slot != group(w->now_ms, level));
	link_into(&w->slot[level][slot], t);
	w->occupied[level] |= (uint64_t)1 << slot;
}

void timer_stop(struct timer_wheel *w, struct timer *t)
{
	if (t->link == NULL)
		return;
	LB_ASSERT(*t->link == t);
	*t->link = t->next;
	if (t->next != NULL)
		t->next->link = t->link;

	/* When the timer was the last one of its slot, the bit of the slot is cleared. */
	struct timer **first = &w->slot[0][0];
	if (*t->link == NULL && t->link >= first && t->link < first + TIMER_LEVELS * TIMER_SLOTS) {
		size_t i = (size_t)(t->link - first);
		LB_ASSERT(w->occupied[i / TIMER_SLOTS] >> i % TIMER_SLOTS & 1);
		w->occupied[i / TIMER_SLOTS] &= ~((uint64_t)1 << i % TIMER_SLOTS);
	}
	t->link = NULL;
	t->next = NULL;
}

void timer_start(struct timer_wheel *w, struct timer *t, uint64_t in_ms)
{
	timer_stop(w, t);
	LB_ASSERT(w->clock_ms >= w->now_ms);
	t->at_ms = in_ms < UINT64_MAX - w->clock_ms ? w->clock_ms + in_ms : UINT64_MAX;
	insert(w, t);
}

/* A list of timers, from which timer_stop() may unlink any. The struct must not move in memory,
 * because the first timer points to it. */
struct timer_list {
	struct timer *first, **end;
};

static void list_reset(struct timer_list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

/* Moves a slot's timers to the end of `l`. */
static void take_slot(struct timer_wheel *w, unsigned level, unsigned slot, struct timer_list *l)
{
	struct timer *first = w->slot[level][slot];

	LB_ASSERT((first != NULL) == (w->occupied[level] >> slot & 1));
	if (first == NULL)
		return;
	first->link = l->end;
	*l->end = first;
	while (*l->end != NULL)
		l->end = &(*l->end)->next;
	w->slot[level][slot] = NULL;
	w->occupied[level] &= ~((uint64_t)1 << slot);
}

static struct timer *pop(struct timer_list *l)
{
	struct timer *t = l->first;

	LB_ASSERT(t->link == &l->first);
	l->first = t->next;
	if (t->next != NULL)
		t->next->link = &l->first;
	t->next = NULL;
	t->link = NULL;
	return t;
}

/* Moves timers down from the slots of higher levels that begin at now_ms. */
static void cascade(struct timer_wheel *w)
{
	struct timer_list l;

	for (unsigned level = TOP; level > 0; level--) {
		list_reset(&l);
		take_slot(w, level, group(w->now_ms, level), &l);
		while (l.first != NULL)
			insert(w, pop(&l));
	}
}

/* The first time after now_ms at which an occupied slot begins. UINT64_MAX when no slot is
 * occupied. */
static uint64_t next_ms(const struct timer_wheel *w)
{
	for (unsigned level = 0; level < TIMER_LEVELS; level++) {
		unsigned here = group(w->now_ms, level);
		unsigned shift = GROUP_BITS * level;
		uint64_t base = w->now_ms >> shift & ~(uint64_t)(TIMER_SLOTS - 1);
		/* Two shifts, because `here` may be 63 and a shift by 64 bits is undefined. */
		uint64_t ahead = w->occupied[level] & ~(uint64_t)0 << here << 1;
		if (ahead == 0 && level == TOP) {
			ahead = w->occupied[level];
			base += TIMER_SLOTS;
		}
		if (ahead != 0)
			return (base + (unsigned)__builtin_ctzll(ahead)) << shift;
	}
	return UINT64_MAX;
}

void timer_wheel_advance(struct timer_wheel *w, uint64_t now_ms)
{
	struct timer_list due;

	list_reset(&due);
	take_slot(w, 0, group(w->now_ms, 0), &due);
	for (uint64_t next; w->now_ms < now_ms && (next = next_ms(w)) <= now_ms;) {
		LB_ASSERT(next > w->now_ms);
		w->now_ms = next;
		cascade(w);
		take_slot(w, 0, group(next, 0), &due);
	}
	if (w->now_ms < now_ms)
		w->now_ms = now_ms;
	if (w->clock_ms < now_ms)
		w->clock_ms = now_ms;

	while (due.first != NULL) {
		struct timer *t = pop(&due);
		LB_ASSERT(t->at_ms <= w->now_ms);
		t->fn(t, w->arg);
	}
}

uint64_t timer_wheel_wait_ms(const struct timer_wheel *w)
{
	if (w->slot[0][group(w->now_ms, 0)] != NULL)
		return 0;
	uint64_t next = next_ms(w);
	return next == UINT64_MAX ? UINT64_MAX : next - w->now_ms;
}
