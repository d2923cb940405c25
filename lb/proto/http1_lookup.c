/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is looked up in a whole head: fields, list elements, cookies, query parameters.
 *
 * A head has at most HTTP1_FIELDS_MAX fields, so each look-up goes through them from the front and
 * builds no index. http1_known_field() compares ids, which the parser has found by http1_name_id();
 * http1_field() compares names. http1_next_token() takes the elements of a list one by one;
 * http1_cookie() and http1_query() take pairs of a name and a value apart (cut(), is_pair()).
 *
 * Slices that are returned borrow from the head's buffer. Thread: any.
 */
#include "proto/http1.h"
#include "proto/octet.h"

#define X(name, text) [HTTP1_FIELD_##name] = { .p = (text), .n = sizeof(text) - 1 },
static const struct slice known_names[HTTP1_FIELD_N] = { HTTP1_KNOWN_FIELDS(X) };
#undef X

enum http1_id http1_name_id(struct slice name)
{
	for (enum http1_id id = HTTP1_FIELD_OTHER + 1; id < HTTP1_FIELD_N; id++)
		if (slice_eq_nocase(known_names[id], name))
			return id;
	return HTTP1_FIELD_OTHER;
}

struct slice http1_path(const struct http1_head *h, const uint8_t *buf)
{
	if (h->path.len != 0)
		return http1_slice(buf, h->path);
	/*
	 * RFC 9112, 3.2.4: OPTIONS with an absolute target without a path is for the whole server.
	 */
	return h->method == HTTP1_OPTIONS && h->query.off == 0 ? SLICE("*") : SLICE("/");
}

bool http1_field(const struct http1_head *h, const uint8_t *buf, struct slice name, size_t *iter,
		 struct slice *ret_value)
{
	while (*iter < h->n_fields) {
		const struct http1_field *f = &h->fields[(*iter)++];

		if (slice_eq_nocase(http1_slice(buf, f->name), name)) {
			*ret_value = http1_slice(buf, f->value);
			return true;
		}
	}
	return false;
}

bool http1_known_field(const struct http1_head *h, const uint8_t *buf, enum http1_id id,
		       size_t *iter, struct slice *ret_value)
{
	LB_ASSERT(id > HTTP1_FIELD_OTHER && id < HTTP1_FIELD_N);
	while (*iter < h->n_fields) {
		const struct http1_field *f = &h->fields[(*iter)++];

		if (f->id == id) {
			*ret_value = http1_slice(buf, f->value);
			return true;
		}
	}
	return false;
}

static bool is_underscored(const struct http1_field *f, const uint8_t *buf)
{
	return memchr(buf + f->name.off, '_', f->name.len) != NULL;
}

bool http1_has_underscore(const struct http1_head *h, const uint8_t *buf)
{
	for (size_t i = 0; i < h->n_fields; i++)
		if (is_underscored(&h->fields[i], buf))
			return true;
	return false;
}

void http1_drop_underscores(struct http1_head *h, const uint8_t *buf)
{
	uint16_t n = 0;

	for (size_t i = 0; i < h->n_fields; i++)
		if (!is_underscored(&h->fields[i], buf))
			h->fields[n++] = h->fields[i];
	LB_ASSERT(n <= h->n_fields);
	h->n_fields = n;
}

static struct slice trim(struct slice s)
{
	while (s.n > 0 && octet_is((uint8_t)s.p[0], OCTET_OWS)) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && octet_is((uint8_t)s.p[s.n - 1], OCTET_OWS))
		s.n--;
	return s;
}

/*
 * Moves the part of `rest` in front of the first `sep` to *ret_part, and drops that `sep`. Returns
 * false when `rest` is empty.
 */
static bool cut(struct slice *rest, char sep, struct slice *ret_part)
{
	if (rest->n == 0)
		return false;

	const char *end = memchr(rest->p, sep, rest->n);
	size_t n = end != NULL ? (size_t)(end - rest->p) : rest->n;
	size_t skip = end != NULL ? n + 1 : n;

	*ret_part = (struct slice){ .p = rest->p, .n = n };
	rest->p += skip;
	rest->n -= skip;
	return true;
}

bool http1_next_token(struct slice *list, struct slice *ret_element)
{
	struct slice part;

	while (cut(list, ',', &part)) {
		part = trim(part);
		if (part.n != 0) {
			*ret_element = part;
			return true;
		}
	}
	return false;
}

bool http1_has_token(const struct http1_head *h, const uint8_t *buf, enum http1_id id,
		     struct slice token)
{
	struct slice list, element;

	for (size_t i = 0; http1_known_field(h, buf, id, &i, &list);)
		while (http1_next_token(&list, &element))
			if (slice_eq_nocase(element, token))
				return true;
	return false;
}

/* Whether the name of the pair "name=value" is `name`. Without '=' the value is empty. */
static bool is_pair(struct slice pair, struct slice name, struct slice *ret_value)
{
	const char *equals = memchr(pair.p, '=', pair.n);
	size_t n = equals != NULL ? (size_t)(equals - pair.p) : pair.n;
	size_t skip = equals != NULL ? n + 1 : n;

	if (!slice_eq((struct slice){ .p = pair.p, .n = n }, name))
		return false;
	*ret_value = (struct slice){ .p = pair.p + skip, .n = pair.n - skip };
	return true;
}

bool http1_cookie(const struct http1_head *h, const uint8_t *buf, struct slice name,
		  struct slice *ret_value)
{
	struct slice line, pair;

	for (size_t i = 0; http1_known_field(h, buf, HTTP1_FIELD_COOKIE, &i, &line);) {
		while (cut(&line, ';', &pair)) {
			pair = trim(pair);
			/* A pair without '=' has no name (RFC 6265, 5.2). */
			if (memchr(pair.p, '=', pair.n) != NULL && is_pair(pair, name, ret_value))
				return true;
		}
	}
	return false;
}

bool http1_query(const struct http1_head *h, const uint8_t *buf, struct slice name,
		 struct slice *ret_value)
{
	struct slice rest = http1_slice(buf, h->query), pair;

	while (cut(&rest, '&', &pair))
		if (pair.n != 0 && is_pair(pair, name, ret_value))
			return true;
	return false;
}
