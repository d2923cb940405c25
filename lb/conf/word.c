/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/word.h"

#include <stdio.h>

#include "util/sockaddr.h"

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

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

bool word_is_name(struct slice s)
{
	if (s.n == 0 || s.n > WORD_NAME_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (is_control(s.p[i]) || is_one_of(s.p[i], " /|"))
			return false;
	}
	return true;
}

bool word_is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!is_alnum(s.p[i]) && !is_one_of(s.p[i], "!#$%&'*+-.^_`|~"))
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
		if (!is_alnum(s.p[i]) && !is_one_of(s.p[i], "-._"))
			return false;
		if (s.p[i] == '.' && i + 1 < s.n && s.p[i + 1] == '.')
			return false;
	}
	return true;
}

bool word_is_path(struct slice s, bool has_query)
{
	if (s.n == 0 || s.p[0] != '/')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!is_visible(s.p[i]) || s.p[i] == '#' || (s.p[i] == '?' && !has_query))
			return false;
	}
	return true;
}

const char *word_show(const char *text, char out[WORD_SHOWN_MAX])
{
	int n = snprintf(out, WORD_SHOWN_MAX, "%s", text);

	for (char *p = out; *p != '\0'; p++) {
		if (is_control(*p))
			*p = '?';
	}
	if (n >= WORD_SHOWN_MAX)
		memcpy(out + WORD_SHOWN_MAX - 4, "...", 3);
	return out;
}
