/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splits a log line into its text and its pairs. A pair is a key of lower-case letters, digits and
 * underscores, `=`, and a value. A value without quotes ends where the next pair begins. A value in
 * quotes ends at a quote behind which the next pair begins or the line ends. So a space or a quote
 * in a value, which may come from a peer, does not end the value, unless text that looks like a
 * pair follows.
 *
 * Thread: any.
 */
#include "daemon/log_fields.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "util/json.h"
#include "util/parse.h"

#define KEY_MAX 32

/* Keys whose values are names. Such a value is always a string, because a name may be "7" or
 * "true". */
static const char *const names[] = { "backend",  "bind", "client", "file",   "key",
				     "listener", "pool", "route",  "socket", "user" };
static const char *const reserved[] = { "time", "level", "msg" };

static bool is_one_of(const char *const *words, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(words[i], word) == 0)
			return true;
	return false;
}

/* Copies the key of the pair that begins at `p`. Returns the key's length, or 0 when no pair begins
 * at `p`. */
static size_t key_at(const char *p, char key[KEY_MAX])
{
	size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789_");

	if (n == 0 || n >= KEY_MAX || p[n] != '=' || p[0] < 'a')
		return 0;
	memcpy(key, p, n);
	key[n] = '\0';
	return is_one_of(reserved, ARRAY_SIZE(reserved), key) ? 0 : n;
}

/* Where the first pair behind a space in `p` begins; the end of the line when there is no such
 * pair. */
static const char *next_pair(const char *p)
{
	char key[KEY_MAX];

	for (const char *at = strchr(p, ' '); at != NULL; at = strchr(at + 1, ' '))
		if (key_at(at + 1, key) > 0)
			return at + 1;
	return p + strlen(p);
}

/*
 * The closing quote of a quoted value whose text begins at `p`: the first quote behind which the
 * line ends or a pair begins. Other quotes belong to the text. NULL when there is no closing quote.
 */
static const char *closing_quote(const char *p)
{
	char key[KEY_MAX];

	for (const char *at = strchr(p, '"'); at != NULL; at = strchr(at + 1, '"'))
		if (at[1] == '\0' || (at[1] == ' ' && key_at(at + 2, key) > 0))
			return at;
	return NULL;
}

static void add_bare(struct json *j, const char *key, struct slice value)
{
	uint64_t v;

	json_key(j, key);
	if (is_one_of(names, ARRAY_SIZE(names), key))
		json_string(j, value);
	else if (slice_eq(value, SLICE("true")) || slice_eq(value, SLICE("false")))
		json_bool(j, value.n == 4);
	else if ((value.n == 1 || value.p[0] != '0') && parse_uint(value, &v) == 0)
		json_uint(j, v);
	else
		json_string(j, value);
}

void log_fields_add(struct json *j, const char *line)
{
	char key[KEY_MAX];
	const char *p = key_at(line, key) > 0 ? line : next_pair(line);
	size_t n_text = (size_t)(p - line);

	if (n_text > 0 && *p != '\0')
		n_text--; /* the space in front of the first pair is not part of the text */
	json_kv_slice(j, "msg", (struct slice){ .p = line, .n = n_text });
	while (*p != '\0') {
		size_t n_key = key_at(p, key);
		LB_ASSERT(n_key > 0); /* `p` is where a pair begins */
		const char *value = p + n_key + 1;
		const char *end = *value == '"' ? closing_quote(value + 1) : NULL;

		if (end != NULL) {
			json_kv_slice(
				j, key,
				(struct slice){ .p = value + 1, .n = (size_t)(end - value - 1) });
			p = end[1] == '\0' ? end + 1 : end + 2;
			continue;
		}
		p = next_pair(value);
		end = *p == '\0' ? p : p - 1;
		add_bare(j, key, (struct slice){ .p = value, .n = (size_t)(end - value) });
	}
}
