/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which forms texts may have, one function for each kind of text, and word_show(), which makes a
 * text fit for a message. The functions look at bytes and accept bytes above 0x7f, unless word.h
 * says that a text must be ASCII. Only invisible_at() decodes UTF-8.
 */
#include "conf/word.h"

#include <stdio.h>

#include "util/assert.h"
#include "util/sockaddr.h"

static bool is_visible(char c)
{
	return c > 0x20 && c < 0x7f;
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static bool is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

/*
 * The code point of the character at the beginning of `s` when that is an invisible character, else
 * 0. Invisible are no-break and zero-width spaces, soft hyphens, marks of direction, line
 * separators and the byte order mark, all of which have two or three bytes in UTF-8. The two
 * joiners, U+200C and U+200D, do not count as invisible, because some scripts need them.
 */
static uint32_t invisible_at(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	uint32_t c = 0;

	if (s.n >= 2 && p[0] == 0xc2)
		c = 0x80u | (p[1] & 0x3fu);
	else if (s.n >= 3 && (p[0] & 0xf0) == 0xe0)
		c = (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
	if (c == 0xa0 || c == 0xad || c == 0x200b || c == 0x200e || c == 0x200f || c == 0xfeff ||
	    c == 0x3000 || (c >= 0x2000 && c <= 0x200a) || (c >= 0x2028 && c <= 0x202f) ||
	    (c >= 0x205f && c <= 0x2064) || (c >= 0x2066 && c <= 0x2069))
		return c;
	return 0;
}

bool word_is_name(struct slice s)
{
	if (s.n == 0 || s.n > WORD_NAME_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (invisible_at((struct slice){ .p = s.p + i, .n = s.n - i }) != 0)
			return false;
		if (is_control(s.p[i]) || is_one_of(s.p[i], " /|"))
			return false;
	}
	return true;
}

bool word_is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!word_is_alnum(s.p[i]) && !is_one_of(s.p[i], "!#$%&'*+-.^_`|~"))
			return false;
	}
	return s.n != 0;
}

bool word_is_parameter(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!is_visible(s.p[i]) || is_one_of(s.p[i], "&=#"))
			return false;
	}
	return s.n != 0;
}

bool word_is_field_value(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (is_control(s.p[i]) && s.p[i] != '\t')
			return false;
	}
	return true;
}

bool word_is_host(struct slice s)
{
	struct addr a;

	if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']') {
		struct slice inner = { .p = s.p + 1, .n = s.n - 2 };
		return addr_parse_host(inner, &a) == 0 && a.family == AF_INET6;
	}
	if (s.n == 0 || s.n > 253 || s.p[0] == '.')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!word_is_alnum(s.p[i]) && !is_one_of(s.p[i], "-._"))
			return false;
		if (s.p[i] == '.' && i + 1 < s.n && s.p[i + 1] == '.')
			return false;
	}
	return true;
}

bool word_is_path_and_query(struct slice s)
{
	if (s.n == 0 || s.p[0] != '/')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!is_visible(s.p[i]) || s.p[i] == '#')
			return false;
	}
	return true;
}

bool word_is_path(struct slice s)
{
	return word_is_path_and_query(s) && memchr(s.p, '?', s.n) == NULL;
}

const char *word_show(const char *text, char out[WORD_SHOWN_MAX])
{
	size_t n = 0, len = strlen(text);

	for (size_t i = 0, step; i < len; i += step) {
		uint32_t c = invisible_at((struct slice){ .p = text + i, .n = len - i });
		size_t shown = c != 0 ? strlen("<U+XXXX>") : 1;
		step = c == 0 ? 1 : c < 0x800 ? 2 : 3;
		if (n + shown >= WORD_SHOWN_MAX) {
			n = n < WORD_SHOWN_MAX - 4 ? n : WORD_SHOWN_MAX - 4;
			memcpy(out + n, "...", 3);
			n += 3;
			break;
		}
		if (c != 0)
			(void)snprintf(out + n, WORD_SHOWN_MAX - n, "<U+%04X>", c);
		else
			out[n] = (char)(is_control(text[i]) ? '?' : text[i]);
		n += shown;
	}
	LB_ASSERT(n < WORD_SHOWN_MAX);
	out[n] = '\0';
	return out;
}
