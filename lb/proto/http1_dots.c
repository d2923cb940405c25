/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dot segments of a path, "." and "..", which some servers remove before they look at a path and
 * others do not.
 *
 * http1_dots() recognises a dot segment, also with its dots written as %2e. The parser (http1.c)
 * calls it for each segment, and refuses such a path or notes has_dots. http1_remove_dots() then
 * takes the dot segments out, as RFC 3986, 5.2.4 says: it writes the new path over the old one.
 * `out` is how many bytes of the new path were written, and `i` is how many bytes of the old path
 * were read, so `out` is at most `i`.
 *
 * Thread: any.
 */
#include "proto/http1.h"

#include <string.h>

unsigned http1_dots(struct slice segment)
{
	unsigned n_dots = 0;

	for (size_t i = 0; i < segment.n; n_dots++) {
		size_t left = segment.n - i;
		struct slice next = { .p = segment.p + i, .n = left < 3 ? left : 3 };

		if (next.p[0] == '.')
			i++;
		else if (slice_eq_nocase(next, SLICE("%2e")))
			i += 3;
		else
			return 0;
		if (n_dots == 2)
			return 0;
	}
	return n_dots;
}

/*
 * How many of the first `n` bytes of a path are left without the last segment and the slash before
 * it.
 */
static size_t cut_segment(const uint8_t *path, size_t n)
{
	const uint8_t *slash = n > 0 ? memrchr(path, '/', n) : NULL;

	return slash != NULL ? (size_t)(slash - path) : 0;
}

void http1_remove_dots(struct http1_head *h, uint8_t *buf)
{
	uint8_t *path = buf + h->path.off;
	size_t out = 0, end;

	if (!h->has_dots)
		return;
	LB_ASSERT(h->path.off + h->path.len <= h->head_len && path[0] == '/');
	for (size_t i = 0; i < h->path.len; i = end) { /* path[i] is a slash */
		const uint8_t *slash = memchr(path + i + 1, '/', h->path.len - i - 1);
		end = slash != NULL ? (size_t)(slash - path) : h->path.len;
		unsigned n_dots = http1_dots((struct slice){
			.p = (const char *)path + i + 1,
			.n = end - i - 1,
		});
		size_t n = end - i;

		LB_ASSERT(out <= i && i < end && end <= h->path.len);
		if (n_dots == 2)
			out = cut_segment(path, out);
		if (n_dots > 0) /* a dot segment at the end names a directory: its slash stays */
			n = end == h->path.len ? 1 : 0;
		memmove(path + out, path + i, n);
		out += n;
	}
	h->path.len = (uint16_t)out;
	h->has_dots = false;
}
