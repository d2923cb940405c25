/* SPDX-License-Identifier: Apache-2.0 */
#include "balance/health.h"

void health_init(struct health *h, uint32_t rise, uint32_t fall)
{
	*h = (struct health){ .rise = rise, .fall = fall };
}

void health_configure(struct health *h, uint32_t rise, uint32_t fall)
{
	h->rise = rise;
	h->fall = fall;
}

bool health_result(struct health *h, bool is_ok)
{
	if (!h->is_known) {
		h->is_known = true;
		h->is_up = is_ok;
		h->streak = 0;
		return true;
	}
	if (is_ok == h->is_up) {
		h->streak = 0;
		return false;
	}
	if (++h->streak < (is_ok ? h->rise : h->fall))
		return false;
	h->is_up = is_ok;
	h->streak = 0;
	return true;
}

uint64_t health_first_delay_ms(size_t i, size_t n, uint32_t interval_ms)
{
	uint64_t window_ms = n > 1000 ? n : 1000;

	if (window_ms > interval_ms)
		window_ms = interval_ms;
	return n == 0 ? 0 : window_ms * i / n;
}
