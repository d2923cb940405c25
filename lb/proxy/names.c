/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/names.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct names {
	void *root; /* tsearch(3) of char *, which it owns */
};

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

struct names *names_new(void)
{
	return calloc(1, sizeof(struct names));
}

struct names *names_free(struct names *n)
{
	if (n != NULL)
		tdestroy(n->root, free);
	free(n);
	return NULL;
}

const char *names_intern(struct names *n, const char *name)
{
	const char *const *found = tfind(name, &n->root, compare);
	if (found != NULL)
		return *found;

	char *copy = strdup(name);
	if (copy == NULL)
		return NULL;
	if (tsearch(copy, &n->root, compare) == NULL) {
		free(copy);
		return NULL;
	}
	return copy;
}
