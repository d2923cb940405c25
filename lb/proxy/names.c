/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/names.h"

#include <search.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/assert.h"

struct name {
	struct name *next; /* of all */
	atomic_uint refs;
	char text[];
};

struct names {
	void *root; /* tsearch(3) of the texts */
	struct name *first;
	size_t n;
};

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static struct name *name_of(const char *kept)
{
	/* The text is const for its readers; its count is not. */
	return container_of((void *)(uintptr_t)kept, struct name, text);
}

static void leave_alone(void *text)
{
	(void)text;
}

struct names *names_new(void)
{
	return calloc(1, sizeof(struct names));
}

struct names *names_free(struct names *n)
{
	if (n == NULL)
		return NULL;
	tdestroy(n->root, leave_alone);
	while (n->first != NULL) {
		struct name *name = n->first;
		n->first = name->next;
		free(name);
	}
	free(n);
	return NULL;
}

const char *names_intern(struct names *n, const char *text)
{
	const char *const *found = tfind(text, &n->root, compare);
	if (found != NULL)
		return names_ref(*found);

	size_t len = strlen(text) + 1;
	struct name *name = malloc(sizeof(*name) + len);
	if (name == NULL)
		return NULL;
	memcpy(name->text, text, len);
	atomic_init(&name->refs, 1);
	if (tsearch(name->text, &n->root, compare) == NULL) {
		free(name);
		return NULL;
	}
	name->next = n->first;
	n->first = name;
	n->n++;
	return name->text;
}

const char *names_ref(const char *kept)
{
	/* Whoever counts has it from somebody who counts it: nothing needs to be ordered. */
	if (kept != NULL)
		atomic_fetch_add_explicit(&name_of(kept)->refs, 1, memory_order_relaxed);
	return kept;
}

void names_unref(const char *kept)
{
	if (kept == NULL)
		return;
	/* Release: what this thread has read of it is read before main frees it. */
	unsigned before = atomic_fetch_sub_explicit(&name_of(kept)->refs, 1, memory_order_release);
	LB_ASSERT(before > 0);
}

void names_sweep(struct names *n)
{
	struct name **at = &n->first;

	while (*at != NULL) {
		struct name *name = *at;
		if (atomic_load_explicit(&name->refs, memory_order_acquire) > 0) {
			at = &name->next;
			continue;
		}
		(void)tdelete(name->text, &n->root, compare);
		*at = name->next;
		n->n--;
		free(name);
	}
}

size_t names_count(const struct names *n)
{
	return n->n;
}
