/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A doubly linked list whose links are embedded in its elements. Not thread-safe.
 *
 * A link that is in no list points to itself (LIST_INIT or list_init()), so list_del() may be
 * called on such a link, and list_is_linked() can tell whether a link is in a list.
 *
 * Layer: util.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/assert.h"

struct list {
	struct list *prev, *next;
};

#define LIST_INIT(name) \
	{ \
		.prev = &(name), .next = &(name) \
	}

static inline void list_init(struct list *l)
{
	l->prev = l;
	l->next = l;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline bool list_is_linked(const struct list *l)
{
	return l->next != l;
}

static inline void list_add_tail(struct list *head, struct list *l)
{
	LB_ASSERT(head->prev->next == head);
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline void list_add_head(struct list *head, struct list *l)
{
	list_add_tail(head->next, l);
}

static inline void list_del(struct list *l)
{
	LB_ASSERT(l->prev->next == l && l->next->prev == l);
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/* Moves all elements of `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_splice_tail(struct list *to, struct list *from)
{
	if (list_is_empty(from))
		return;
	LB_ASSERT(to != from && to->prev->next == to && from->prev->next == from);
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)

/* Loops over the elements of the list `head`. `it` is a struct list * to the current element, which
 * the loop's body may delete. */
#define list_for_each(it, head) \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head); \
	     it = it##_next, it##_next = it->next)
