/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Classes of octets: where the grammars of RFC 9110, 9112 and 3986 allow an octet.
 *
 * Layer: proto. Includes util/ only. Hot: a table look-up.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	OCTET_TOKEN = 1u << 0,   /* tchar: methods, field names, list elements */
	OCTET_SEGMENT = 1u << 1, /* visible ASCII of a path, without '/', '?' and '#' */
	OCTET_TARGET = 1u << 2,  /* visible ASCII of a target, without '#' */
	OCTET_TEXT = 1u << 3,    /* field values: HTAB, space, visible ASCII, 0x80 to 0xff */
	OCTET_HOST = 1u << 4,    /* an authority without userinfo: reg-name, ':', '[', ']' */
	OCTET_DIGIT = 1u << 5,
	OCTET_OWS = 1u << 6, /* HTAB and space */
	OCTET_HEX = 1u << 7,
	OCTET_HIGH = 1u << 8, /* 0x80 to 0xff */
	OCTET_LAX = 1u << 9,  /* all but NUL, CR and LF: what cannot end a line (RFC 9110, 5.5) */
};

extern const uint16_t octet_class[256];

static inline bool octet_is(uint8_t c, unsigned mask)
{
	return (octet_class[c] & mask) != 0;
}

/* The first index from `from` on whose octet is in none of the classes of `mask`, or `to`. */
static inline size_t octet_run(const uint8_t *p, size_t from, size_t to, unsigned mask)
{
	while (from < to && octet_is(p[from], mask))
		from++;
	return from;
}
