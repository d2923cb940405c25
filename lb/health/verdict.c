/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Up or down, from results. The streak counts the results in a row that contradict the verdict;
 * any other result sets the streak to 0, and a streak of `rise` or `fall` turns the verdict.
 *
 * Thread: the owner's.
 */
#include "health/verdict.h"

void verdict_init(struct verdict *v, uint32_t rise, uint32_t fall)
{
	LB_ASSERT(rise > 0 && fall > 0);
	*v = (struct verdict){ .rise = rise, .fall = fall };
}

void verdict_configure(struct verdict *v, uint32_t rise, uint32_t fall)
{
	LB_ASSERT(rise > 0 && fall > 0);
	v->rise = rise;
	v->fall = fall;
}

bool verdict_add(struct verdict *v, bool is_ok)
{
	LB_ASSERT(v->rise > 0 && v->fall > 0); /* verdict_init() was called */
	if (!v->is_known) {
		v->is_known = true;
		v->is_up = is_ok;
		v->streak = 0;
		return true;
	}
	if (is_ok == v->is_up) {
		v->streak = 0;
		return false;
	}
	if (++v->streak < (is_ok ? v->rise : v->fall))
		return false;
	LB_ASSERT(v->is_up != is_ok); /* only a result that contradicts the verdict changes it */
	v->is_up = is_ok;
	v->streak = 0;
	return true;
}
