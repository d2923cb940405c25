/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names: one counted copy of each distinct text.
 *
 * A name is handed out as its text, so that a reader needs nothing else; the count stands before
 * the text (struct name). A tree of tsearch(3) finds a text, a list has all names. `struct names`
 * holds one reference of each name, and gives it back in names_sweep() or names_free(): so no other
 * thread ever frees a name.
 *
 * Thread: main, but for names_ref() and names_unref().
 */
#include "proxy/names.h"

#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/assert.h"
#include "util/ref.h"

struct name {
	struct name *next; /* the next name in the list of all names */
	struct ref refs;   /* one reference is held by `struct names` */
	char text[];
};

struct names {
	void *root; /* the tree of tsearch(3), whose keys are the texts */
	struct name *first;
	size_t n;
};

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static struct name *name_of(const char *kept)
{
	/* `kept` is const because readers must not change the text; but the count before the text
	 * changes. */
	return container_of((void *)(uintptr_t)kept, struct name, text);
}

/* For tdestroy(3): frees nothing, because the list owns the names and the tree does not. */
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
	ref_init(&name->refs);
	if (tsearch(name->text, &n->root, compare) == NULL) {
		free(name);
		return NULL;
	}
	name->next = n->first;
	n->first = name;
	n->n++;
	return names_ref(name->text);
}

const char *names_ref(const char *kept)
{
	if (kept != NULL)
		ref_get(&name_of(kept)->refs);
	return kept;
}

void names_unref(const char *kept)
{
	if (kept == NULL)
		return;
	bool was_last = ref_put(&name_of(kept)->refs);
	LB_ASSERT(!was_last); /* only names_sweep() and names_free() free a name */
}

void names_sweep(struct names *n)
{
	struct name **at = &n->first;

	while (*at != NULL) {
		struct name *name = *at;
		if (!ref_is_only(&name->refs)) {
			at = &name->next;
			continue;
		}
		(void)tdelete(name->text, &n->root, compare);
		LB_ASSERT(n->n > 0);
		*at = name->next;
		n->n--;
		free(name);
	}
}

size_t names_count(const struct names *n)
{
	return n->n;
}
