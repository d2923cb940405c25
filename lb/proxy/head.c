/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/head.h"

#include <errno.h>
#include <string.h>

struct buf *head_new(struct buf_pool *pool, uint32_t n)
{
	enum buf_class size_class =
		n <= BUF_SMALL_BYTES  ? BUF_SMALL
		: n <= BUF_HEAD_BYTES ? BUF_HEAD
				      : BUF_LARGE; /* lb sends the authority in two more fields */

	LB_ASSERT(n <= BUF_LARGE_BYTES);
	/* A failed reservation is no error: buf_get() may still find a free buffer. */
	(void)buf_reserve(pool, size_class, 1);
	return buf_get(pool, size_class);
}

int head_add(struct buf **head, struct buf_pool *pool, struct buf *b)
{
	struct buf *h = *head;

	if (h == NULL) {
		if (b->off > 0) /* it was the content of a record */
			memmove(b->data, b->data + b->off, b->len);
		b->off = 0;
		*head = b;
		return 0;
	}
	if (h->len + b->len > h->cap) {
		struct buf *larger = head_new(pool, h->len + b->len);
		if (larger == NULL) {
			buf_put(pool, b);
			return -ENOMEM;
		}
		memcpy(larger->data, h->data, h->len);
		larger->len = h->len;
		buf_put(pool, h);
		*head = h = larger;
	}
	memcpy(h->data + h->len, b->data + b->off, b->len);
	h->len += b->len;
	buf_put(pool, b);
	return 0;
}

int head_cut_rest(struct buf *head, struct buf_pool *pool, uint32_t n, struct buf **ret)
{
	LB_ASSERT(n <= head->len);
	uint32_t rest = head->len - n;
	struct buf *b = NULL;

	if (rest > 0) {
		b = head_new(pool, rest);
		if (b == NULL)
			return -ENOMEM;
		memcpy(b->data, head->data + n, rest);
		b->len = rest;
		head->len = n;
	}
	*ret = b;
	return 0;
}
