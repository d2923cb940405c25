/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/outcome.h"

#include "util/assert.h"

static const struct {
	const char *word;
	const char *told;
	uint16_t status;
	enum sess_end end;
} outcomes[N_OUTCOMES] = { [OUTCOME_NONE] = { "", "", 0, SESS_END_NONE },
#define X(name, word_, status_, end_, told_) \
	[OUTCOME_##name] = { \
		.word = word_, .told = told_, .status = status_, .end = SESS_END_##end_ \
	},
			   OUTCOMES(X)
#undef X
};

const char *outcome_word(enum outcome o)
{
	LB_ASSERT(o < N_OUTCOMES);
	return outcomes[o].word;
}

uint16_t outcome_status(enum outcome o)
{
	LB_ASSERT(o < N_OUTCOMES);
	return outcomes[o].status;
}

enum sess_end outcome_end(enum outcome o)
{
	LB_ASSERT(o < N_OUTCOMES);
	return outcomes[o].end;
}

const char *outcome_told(enum outcome o)
{
	LB_ASSERT(o < N_OUTCOMES);
	return outcomes[o].told;
}

enum outcome outcome_of_end(enum sess_end e)
{
	LB_ASSERT(e < SESS_N_ENDS);
	for (enum outcome o = OUTCOME_NONE + 1; o < N_OUTCOMES; o++)
		if (outcomes[o].end == e && e != SESS_END_NONE)
			return o;
	return OUTCOME_ABORTED;
}
