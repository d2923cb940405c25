/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table behind octet.h: for each octet the classes that it is in.
 *
 * The compiler computes the table from the rules of the grammars below: CLASS() is one entry, ROW()
 * 16 of them.
 *
 * Thread: any; constant.
 */
#include "proto/octet.h"

#define IS_DIGIT(c) ((c) >= '0' && (c) <= '9')
#define IS_ALPHA(c) (((c) | 0x20) >= 'a' && ((c) | 0x20) <= 'z')
#define IS_ALNUM(c) (IS_DIGIT(c) || IS_ALPHA(c))
#define IS_VISIBLE(c) ((c) >= 0x21 && (c) <= 0x7e)
#define IS_OWS(c) ((c) == ' ' || (c) == '\t')
#define IS_HEX(c) (IS_DIGIT(c) || (((c) | 0x20) >= 'a' && ((c) | 0x20) <= 'f'))

/* The characters of a token beside letters and digits (RFC 9110, 5.6.2). */
#define IS_TOKEN_MARK(c) \
	((c) == '!' || ((c) >= '#' && (c) <= '\'') || (c) == '*' || (c) == '+' || (c) == '-' || \
	 (c) == '.' || ((c) >= '^' && (c) <= '`') || (c) == '|' || (c) == '~')

/*
 * The characters of an authority beside letters and digits (RFC 3986): the marks of unreserved,
 * sub-delims, '%', ':', '[' and ']'.
 */
#define IS_HOST_MARK(c) \
	((c) == '!' || ((c) >= '$' && (c) <= '.') || (c) == ':' || (c) == ';' || (c) == '=' || \
	 (c) == '[' || (c) == ']' || (c) == '_' || (c) == '~')

#define CLASS(c) \
	((IS_ALNUM(c) || IS_TOKEN_MARK(c) ? OCTET_TOKEN : 0) | \
	 (IS_VISIBLE(c) && (c) != '#' && (c) != '/' && (c) != '?' ? OCTET_SEGMENT : 0) | \
	 (IS_VISIBLE(c) && (c) != '#' ? OCTET_TARGET : 0) | \
	 (IS_VISIBLE(c) || IS_OWS(c) || (c) >= 0x80 ? OCTET_TEXT : 0) | \
	 (IS_ALNUM(c) || IS_HOST_MARK(c) ? OCTET_HOST : 0) | (IS_DIGIT(c) ? OCTET_DIGIT : 0) | \
	 (IS_OWS(c) ? OCTET_OWS : 0) | (IS_HEX(c) ? OCTET_HEX : 0) | \
	 ((c) >= 0x80 ? OCTET_HIGH : 0) | \
	 ((c) != '\0' && (c) != '\r' && (c) != '\n' ? OCTET_LAX : 0))

#define FOUR(c) CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define ROW(c) FOUR(c), FOUR((c) + 4), FOUR((c) + 8), FOUR((c) + 12)

const uint16_t octet_class[256] = {
	ROW(0x00), ROW(0x10), ROW(0x20), ROW(0x30), ROW(0x40), ROW(0x50), ROW(0x60), ROW(0x70),
	ROW(0x80), ROW(0x90), ROW(0xa0), ROW(0xb0), ROW(0xc0), ROW(0xd0), ROW(0xe0), ROW(0xf0),
};
