/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_pem.h"

#define BEGIN SLICE("-----BEGIN ")
#define END SLICE("-----END ")
#define DASHES SLICE("-----")

/* Takes the next line off; without its end. */
static struct slice take_line(struct tls_pem_reader *r)
{
	struct slice all = r->pem.text;
	const char *p = all.p + r->off, *end = memchr(p, '\n', all.n - r->off);
	size_t n = end != NULL ? (size_t)(end - p) : all.n - r->off;

	r->off += end != NULL ? n + 1 : n;
	r->line++;
	while (n > 0 && (p[n - 1] == '\r' || p[n - 1] == ' ' || p[n - 1] == '\t'))
		n--;
	return (struct slice){ .p = p, .n = n };
}

/* The label of a line that begins or ends a block; its p is NULL where the line is neither. */
static struct slice label_of(struct slice line, struct slice prefix)
{
	struct slice none = { 0 };

	if (!slice_starts_with(line, prefix) || line.n < prefix.n + DASHES.n)
		return none;
	struct slice tail = { .p = line.p + line.n - DASHES.n, .n = DASHES.n };
	if (!slice_eq(tail, DASHES))
		return none;
	return (struct slice){ .p = line.p + prefix.n, .n = line.n - prefix.n - DASHES.n };
}

int tls_pem_next(struct tls_pem_reader *r, struct err *e, struct tls_pem_block *ret)
{
	struct tls_pem_block b = { 0 };

	LB_ASSERT(r->off <= r->pem.text.n);
	while (r->off < r->pem.text.n) {
		uint32_t line_no = r->line;
		struct slice line = take_line(r);
		if (b.label.p == NULL) {
			b.label = label_of(line, BEGIN);
			b.text.p = line.p;
			b.at = (struct mark){ .file = r->pem.file, .line = line_no, .col = 1 };
			continue;
		}
		struct slice end = label_of(line, END);
		if (end.p == NULL || !slice_eq(end, b.label))
			continue;
		b.text.n = (size_t)(line.p + line.n - b.text.p);
		*ret = b;
		return 1;
	}
	if (b.label.p == NULL)
		return 0;
	return err_at(e, b.at,
		      "\"-----BEGIN " SLICE_FMT "-----\" has no \"-----END " SLICE_FMT
		      "-----\": is the file cut off?",
		      SLICE_ARG(b.label), SLICE_ARG(b.label));
}
