/* SPDX-License-Identifier: Apache-2.0 */
/* The table of outcomes. */
#include <check.h>
#include <string.h>

#include "../suite.h"
#include "proxy/outcome.h"
#include "util/assert.h"

static const struct {
	const char *word;
	int status;
	enum sess_end end;
} rows[] = {
	{ "completed", 0, SESS_END_COMPLETED },
	{ "tunnel", 0, SESS_END_NONE },
	{ "aborted", 0, SESS_END_NONE },
	{ "handshake_timeout", 408, SESS_END_HANDSHAKE_TIMEOUT },
	{ "body_timeout", 408, SESS_END_IDLE },
	{ "bad_request", 400, SESS_END_BAD_REQUEST },
	{ "no_route", 404, SESS_END_NO_ROUTE },
	{ "no_backend", 503, SESS_END_NO_BACKEND },
	{ "no_port", 503, SESS_END_NO_PORT },
	{ "connect_failed", 502, SESS_END_CONNECT_FAILED },
	{ "connect_timeout", 504, SESS_END_CONNECT_TIMEOUT },
	{ "response_timeout", 504, SESS_END_RESPONSE_TIMEOUT },
	{ "bad_response", 502, SESS_END_BAD_RESPONSE },
	{ "bad_accept", 502, SESS_END_BAD_ACCEPT },
	{ "backend_reset", 502, SESS_END_BACKEND_RESET },
	{ "backend_vanished", 502, SESS_END_BACKEND_VANISHED },
	{ "backend_stalled", 502, SESS_END_BACKEND_STALLED },
};

START_TEST(words_statuses_and_ends_are_stable)
{
	ck_assert_uint_eq(N_OUTCOMES, ARRAY_SIZE(rows) + 1);
	ck_assert_str_eq(outcome_word(OUTCOME_NONE), "");
	for (enum outcome o = OUTCOME_NONE + 1; o < N_OUTCOMES; o++) {
		ck_assert_str_eq(outcome_word(o), rows[o - 1].word);
		ck_assert_int_eq(outcome_status(o), rows[o - 1].status);
		ck_assert_int_eq(outcome_end(o), rows[o - 1].end);
	}
}
END_TEST

/* A client that gets a status gets a sentence with it, which has no dotted key and no word of lb's
 * own. */
START_TEST(clients_are_told_nothing_of_the_file)
{
	static const char *const inner[] = {
		".", "_", "backend", "timeout", "route", "pool", "port"
	};

	for (enum outcome o = OUTCOME_NONE; o < N_OUTCOMES; o++) {
		const char *told = outcome_told(o);
		ck_assert_int_eq(told[0] != '\0', outcome_status(o) != 0);
		for (size_t i = 0; i < ARRAY_SIZE(inner); i++)
			ck_assert_msg(strstr(told, inner[i]) == NULL, "%s: \"%s\"", outcome_word(o),
				      told);
	}
}
END_TEST

/* A request whose connection ends for a reason that is no outcome's was aborted. */
START_TEST(an_end_gives_an_outcome)
{
	static const enum sess_end aborting[] = {
		SESS_END_NONE,           SESS_END_CLIENT_CLOSED,   SESS_END_CLIENT_RESET,
		SESS_END_STOP,           SESS_END_CLIENT_VANISHED, SESS_END_CLIENT_STALLED,
		SESS_END_TLS_FAILED,     SESS_END_HANDSHAKE_SHED,  SESS_END_HALF_CLOSED,
		SESS_END_BACKEND_CLOSED, SESS_END_ADMIN,           SESS_END_BAD_PROXY,
	};
	size_t n_aborting = 0;

	for (enum sess_end e = SESS_END_NONE; e < SESS_N_ENDS; e++) {
		enum outcome o = outcome_of_end(e);
		if (o == OUTCOME_ABORTED)
			n_aborting++;
		else
			ck_assert_int_eq(outcome_end(o), e);
	}
	for (size_t i = 0; i < ARRAY_SIZE(aborting); i++)
		ck_assert_int_eq(outcome_of_end(aborting[i]), OUTCOME_ABORTED);
	ck_assert_uint_eq(n_aborting, ARRAY_SIZE(aborting));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, words_statuses_and_ends_are_stable);
	tcase_add_test(t, clients_are_told_nothing_of_the_file);
	tcase_add_test(t, an_end_gives_an_outcome);
}

int main(void)
{
	return run_suite("proxy/outcome", add_tests);
}
