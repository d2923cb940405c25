/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_names.h"

#include <errno.h>
#include <stdlib.h>

#define LABEL_MAX 63u

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Letters, digits and hyphens; underscores occur in names of internal hosts. */
static bool is_label_byte(char c)
{
	c = lower(c);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool tls_name_is_valid(struct slice name)
{
	size_t label = 0;

	if (name.n > TLS_NAME_MAX)
		return false;
	if (slice_starts_with(name, SLICE("*.")))
		name = (struct slice){ .p = name.p + 2, .n = name.n - 2 };
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '.' && label > 0)
			label = 0;
		else if (!is_label_byte(name.p[i]) || ++label > LABEL_MAX)
			return false;
	}
	return label > 0;
}

int tls_names_add(struct tls_names *t, struct slice name, uint32_t value)
{
	LB_ASSERT(tls_name_is_valid(name) && !t->is_sorted && value != TLS_NAMES_NONE);
	if (t->n == t->cap) {
		uint32_t cap = t->cap == 0 ? 8 : 2 * t->cap;
		struct tls_name *row = reallocarray(t->row, cap, sizeof(*row));
		if (row == NULL)
			return -ENOMEM;
		t->row = row;
		t->cap = cap;
	}
	char *copy = malloc(name.n + 1);
	if (copy == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < name.n; i++)
		copy[i] = lower(name.p[i]);
	copy[name.n] = '\0';
	t->row[t->n++] = (struct tls_name){ .name = copy, .value = value };
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct tls_name *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	if (r != 0)
		return r;
	return x->value < y->value ? -1 : x->value > y->value;
}

void tls_names_sort(struct tls_names *t)
{
	LB_ASSERT(!t->is_sorted && t->n <= t->cap);
	if (t->n > 0)
		qsort(t->row, t->n, sizeof(*t->row), compare_rows);
	t->is_sorted = true;
}

/* The first row of this name. */
static uint32_t find(const struct tls_names *t, const char *name)
{
	uint32_t low = 0, high = t->n;

	LB_DASSERT(t->is_sorted);
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (strcmp(t->row[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < t->n && strcmp(t->row[low].name, name) == 0 ? t->row[low].value
								 : TLS_NAMES_NONE;
}

uint32_t tls_names_find(const struct tls_names *t, struct slice sni)
{
	char name[TLS_NAME_MAX + 1];

	LB_ASSERT(t->is_sorted);
	if (sni.n > 0 && sni.p[sni.n - 1] == '.')
		sni.n--;
	/* A client's "*.example.com" is no name. */
	if (!tls_name_is_valid(sni) || sni.p[0] == '*')
		return TLS_NAMES_NONE;
	for (size_t i = 0; i < sni.n; i++)
		name[i] = lower(sni.p[i]);
	name[sni.n] = '\0';

	uint32_t value = find(t, name);
	char *dot = strchr(name, '.');
	if (value != TLS_NAMES_NONE || dot == NULL || dot == name)
		return value;
	dot[-1] = '*';
	return find(t, dot - 1);
}

void tls_names_deinit(struct tls_names *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		free(t->row[i].name);
	free(t->row);
	*t = (struct tls_names){ 0 };
}
