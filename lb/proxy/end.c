/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/end.h"

#include "util/assert.h"

static const struct {
	const char *word;
	const char *meaning;
	uint16_t close_code;
} ends[SESS_N_ENDS] = { [SESS_END_NONE] = { "", "not ended", 0 },
#define X(name, word_, close_, meaning_) \
	[SESS_END_##name] = { .word = word_, .meaning = meaning_, .close_code = close_ },
			SESS_ENDS(X)
#undef X
};

const char *sess_end_word(enum sess_end e)
{
	LB_ASSERT(e < SESS_N_ENDS);
	return ends[e].word;
}

uint16_t sess_end_close_code(enum sess_end e)
{
	LB_ASSERT(e < SESS_N_ENDS);
	return ends[e].close_code;
}

const char *sess_end_meaning(enum sess_end e)
{
	LB_ASSERT(e < SESS_N_ENDS);
	return ends[e].meaning;
}
