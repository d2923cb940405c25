/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer of JSON, which puts the commas and the escapes.
 *
 * Terms. To nest is to open an object or an array, `depth` is the number of those that are open,
 * and a bit of `is_array` says of each depth whether it is an array. A value stands behind a key,
 * in an array, or alone at the top.
 *
 * json_object_begin() and json_array_begin() nest, json_..._end() unnests. json_key() writes a name
 * in an object. Each function that writes a value calls value_begin() first: it asserts that a
 * value may stand here, and writes the comma that separates the value from the one before.
 *
 * Strings. quoted() copies plain ASCII in runs, escapes what JSON requires (escaped()), copies
 * characters that are valid UTF-8 (utf8_len()), and writes U+FFFD for every other byte. So the
 * output is valid UTF-8 whatever the input is, which may come from a client.
 *
 * Short memory. When an addition fails for want of memory, the text remembers that, and the writer
 * goes on. json_is_ok() tells at the end.
 *
 * Relies on util/text.h for the buffer. Thread: the owner's.
 */
#include "util/json.h"

#include <inttypes.h>
#include <math.h>

#include "util/assert.h"

static bool is_in_array(const struct json *j)
{
	LB_ASSERT(j->depth <= JSON_DEPTH_MAX);
	return j->depth > 0 && (j->is_array & (1u << (j->depth - 1))) != 0;
}

/* Writes the comma before a value of an array, and asserts that a value may stand here. */
static void value_begin(struct json *j)
{
	/* A value stands behind a key, in an array, or alone at the top. */
	LB_ASSERT(j->has_key || is_in_array(j) || (j->depth == 0 && !j->needs_comma));

	if (!j->has_key && j->needs_comma)
		text_add(&j->out, SLICE(","));
	j->has_key = false;
	j->needs_comma = true;
}

enum nesting { NEST_OBJECT, NEST_ARRAY };

static void nest(struct json *j, enum nesting what)
{
	value_begin(j);
	LB_ASSERT(j->depth < JSON_DEPTH_MAX);

	uint32_t bit = 1u << j->depth;
	j->is_array = what == NEST_ARRAY ? j->is_array | bit : j->is_array & ~bit;
	j->depth++;
	j->needs_comma = false;
	text_add(&j->out, what == NEST_ARRAY ? SLICE("[") : SLICE("{"));
}

static void unnest(struct json *j, enum nesting what)
{
	LB_ASSERT(j->depth > 0 && is_in_array(j) == (what == NEST_ARRAY) && !j->has_key);

	j->depth--;
	j->needs_comma = true;
	text_add(&j->out, what == NEST_ARRAY ? SLICE("]") : SLICE("}"));
}

void json_object_begin(struct json *j)
{
	nest(j, NEST_OBJECT);
}

void json_object_end(struct json *j)
{
	unnest(j, NEST_OBJECT);
}

void json_array_begin(struct json *j)
{
	nest(j, NEST_ARRAY);
}

void json_array_end(struct json *j)
{
	unnest(j, NEST_ARRAY);
}

static bool is_continuation(const struct slice *s, size_t at)
{
	return at < s->n && ((unsigned char)s->p[at] & 0xc0) == 0x80;
}

/*
 * The length of the UTF-8 character at `at` (RFC 3629, section 4). Returns 0 when there is no valid
 * one: a continuation byte is missing or stray, the form is overlong, or the character is a
 * surrogate or above U+10FFFF.
 */
static size_t utf8_len(const struct slice *s, size_t at)
{
	unsigned char c = (unsigned char)s->p[at];
	unsigned char next = at + 1 < s->n ? (unsigned char)s->p[at + 1] : 0;

	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4 || !is_continuation(s, at + 1))
		return 0;
	if (c < 0xe0)
		return 2;
	if ((c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) || !is_continuation(s, at + 2))
		return 0;
	if (c < 0xf0)
		return 3;
	if ((c == 0xf0 && next < 0x90) || (c == 0xf4 && next > 0x8f) || !is_continuation(s, at + 3))
		return 0;
	return 4;
}

static bool is_plain(char c)
{
	unsigned char u = (unsigned char)c;

	return u >= 0x20 && u < 0x80 && u != '"' && u != '\\';
}

/* Adds the escape of `c`, an ASCII character that must be escaped (RFC 8259, section 7). */
static void escaped(struct text *out, char c)
{
	switch (c) {
	case '"': text_add(out, SLICE("\\\"")); break;
	case '\\': text_add(out, SLICE("\\\\")); break;
	case '\n': text_add(out, SLICE("\\n")); break;
	case '\r': text_add(out, SLICE("\\r")); break;
	case '\t': text_add(out, SLICE("\\t")); break;
	default: text_addf(out, "\\u%04x", (unsigned)(unsigned char)c);
	}
}

static void quoted(struct text *out, struct slice s)
{
	size_t i = 0;

	text_add(out, SLICE("\""));
	while (i < s.n) {
		size_t n = 0;
		while (i + n < s.n && is_plain(s.p[i + n]))
			n++;
		if (n == 0 && (unsigned char)s.p[i] >= 0x80)
			n = utf8_len(&s, i);

		LB_ASSERT(n <= s.n - i);
		if (n != 0) {
			text_add(out, (struct slice){ .p = s.p + i, .n = n });
			i += n;
			continue;
		}
		if ((unsigned char)s.p[i] >= 0x80)
			/* U+FFFD stands for a byte that is not part of valid UTF-8. */
			text_add(out, SLICE("\xef\xbf\xbd"));
		else
			escaped(out, s.p[i]);
		i++;
	}
	text_add(out, SLICE("\""));
}

void json_key(struct json *j, const char *key)
{
	LB_ASSERT(j->depth > 0 && !is_in_array(j) && !j->has_key);

	if (j->needs_comma)
		text_add(&j->out, SLICE(","));
	quoted(&j->out, slice_of(key));
	text_add(&j->out, SLICE(":"));
	j->has_key = true;
}

void json_string(struct json *j, struct slice s)
{
	value_begin(j);
	quoted(&j->out, s);
}

void json_uint(struct json *j, uint64_t v)
{
	value_begin(j);
	text_addf(&j->out, "%" PRIu64, v);
}

void json_int(struct json *j, int64_t v)
{
	value_begin(j);
	text_addf(&j->out, "%" PRId64, v);
}

void json_bool(struct json *j, bool v)
{
	value_begin(j);
	text_add(&j->out, v ? SLICE("true") : SLICE("false"));
}

void json_null(struct json *j)
{
	value_begin(j);
	text_add(&j->out, SLICE("null"));
}

void json_double(struct json *j, double v)
{
	if (!isfinite(v)) {
		json_null(j);
		return;
	}
	value_begin(j);
	text_addf(&j->out, "%.6f", v);
}

void json_kv_uint(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_uint(j, v);
}

void json_kv_string(struct json *j, const char *key, const char *str)
{
	json_key(j, key);
	json_string(j, slice_of(str));
}

void json_kv_slice(struct json *j, const char *key, struct slice s)
{
	json_key(j, key);
	json_string(j, s);
}

void json_kv_bool(struct json *j, const char *key, bool v)
{
	json_key(j, key);
	json_bool(j, v);
}

void json_deinit(struct json *j)
{
	text_deinit(&j->out);
	*j = JSON_INIT;
}
