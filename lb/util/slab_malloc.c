/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replaces slab.c in builds for sanitizers and valgrind. Each object is allocated at its get and
 * freed at its put, so that these tools see a use after put, an overrun and a leak.
 *
 * A place stands for one index: it has the index's generation and, while the index is used, its
 * object. Handles, limits and the need to reserve are as in slab.c. The capacity is exactly what
 * was reserved, and never falls.
 *
 * Thread: the owner's.
 */
#include "util/slab.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Stands before each object. Its alignment of 16 gives an object malloc's alignment. */
struct object {
	_Alignas(16) const struct slab *slab;
	uint32_t index;
	char data[] __attribute__((aligned(16)));
};

struct place {
	struct object *object; /* owns; NULL: the index is free */
	uint16_t gen;          /* never 0 */
};

struct slab {
	const char *name;
	size_t size;
	uint32_t max;
	uint32_t n_places;   /* elements of `place`: the capacity */
	uint32_t n_used;     /* used objects */
	uint32_t lowest;     /* all places below this index are used */
	uint32_t fail_after; /* gets until the one that fails; 0: none fails */
	struct place *place; /* owns */
};

struct slab *slab_new(const char *name, size_t size, uint32_t max)
{
	LB_ASSERT(size > 0 && size <= UINT32_MAX && max > 0);

	struct slab *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->name = name;
	s->size = size;
	s->max = max;
	return s;
}

/* Reports a leak with the name of the slab, and never returns. */
static LB_COLD LB_NORETURN void objects_left(const struct slab *s)
{
	char text[96];

	(void)snprintf(text, sizeof(text), "slab %s: %u objects left", s->name, s->n_used);
	assert_failed(text, __FILE__, __LINE__, __func__);
}

struct slab *slab_free(struct slab *s)
{
	if (s == NULL)
		return NULL;
	if (s->n_used != 0)
		objects_left(s);
	free(s->place);
	free(s);
	return NULL;
}

/* Does nothing, because slab_put() has freed the memory of every object at once. */
bool slab_settle(struct slab *s)
{
	(void)s;
	return true;
}

void slab_trim(struct slab *s)
{
	(void)s;
}

bool slab_has_spare(const struct slab *s)
{
	(void)s;
	return false;
}

int slab_reserve(struct slab *s, uint32_t n)
{
	uint32_t left = s->max - s->n_used;
	uint32_t n_places = s->n_used + (n < left ? n : left);

	if (n_places > s->n_places) {
		struct place *grown = reallocarray(s->place, n_places, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		for (uint32_t i = s->n_places; i < n_places; i++)
			grown[i] = (struct place){ .gen = 1 };
		s->place = grown;
		s->n_places = n_places;
	}
	return n > left ? -ENOSPC : 0;
}

void *slab_get(struct slab *s)
{
	if (s->fail_after != 0 && --s->fail_after == 0)
		return NULL;
	if (s->n_used == s->n_places)
		return NULL;

	while (s->place[s->lowest].object != NULL)
		s->lowest++;
	LB_ASSERT(s->lowest < s->n_places);
	struct object *o = calloc(1, sizeof(*o) + s->size);
	if (o == NULL)
		return NULL;
	o->slab = s;
	o->index = s->lowest++;
	s->place[o->index].object = o;
	s->n_used++;
	return o->data;
}

/* The struct object of `obj`, which must be a used object of `s`. */
static const struct object *object_of(const struct slab *s, const void *obj)
{
	const char *at = (const char *)obj - offsetof(struct object, data);
	const struct object *o = (const void *)at;

	LB_ASSERT(o->slab == s && o->index < s->n_places && s->place[o->index].object == o);
	return o;
}

void slab_put(struct slab *s, void *obj)
{
	uint32_t index = object_of(s, obj)->index;
	struct place *pl = &s->place[index];

	LB_ASSERT(s->n_used > 0);
	free(pl->object);
	pl->object = NULL;
	if (++pl->gen == 0)
		pl->gen = 1;
	if (index < s->lowest)
		s->lowest = index;
	s->n_used--;
}

slab_handle slab_handle_of(const struct slab *s, const void *obj)
{
	uint32_t index = object_of(s, obj)->index;

	return (slab_handle)s->place[index].gen << 32 | index;
}

void *slab_find(const struct slab *s, slab_handle h)
{
	uint32_t index = (uint32_t)h;

	if (index >= s->n_places)
		return NULL;
	const struct place *pl = &s->place[index];
	if (pl->object == NULL || pl->gen != h >> 32)
		return NULL;
	return pl->object->data;
}

uint32_t slab_n_used(const struct slab *s)
{
	return s->n_used;
}

size_t slab_bytes(const struct slab *s)
{
	return sizeof(*s) + s->n_places * sizeof(*s->place) +
	       s->n_used * (sizeof(struct object) + s->size);
}

void *slab_next(const struct slab *s, uint32_t *cursor)
{
	for (uint32_t i = *cursor; i < s->n_places; i++) {
		if (s->place[i].object == NULL)
			continue;
		*cursor = i + 1;
		return s->place[i].object->data;
	}
	*cursor = s->n_places;
	return NULL;
}

void slab_fail_after(struct slab *s, uint32_t n)
{
	s->fail_after = n;
}
