/* SPDX-License-Identifier: Apache-2.0 */
/* The table of reasons, and that lb(8) lists it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "proxy/end.h"

/* The words are lb's interface: in logs, in `ends`, in lb_ends_total. */
static const char *const words[] = {
	"client_closed",
	"backend_closed",
	"client_reset",
	"backend_reset",
	"client_vanished",
	"backend_vanished",
	"client_stalled",
	"backend_stalled",
	"completed",
	"idle",
	"half_closed",
	"handshake_timeout",
	"bad_proxy",
	"tls_failed",
	"handshake_shed",
	"bad_request",
	"no_route",
	"no_backend",
	"no_port",
	"connect_failed",
	"connect_timeout",
	"response_timeout",
	"bad_response",
	"bad_accept",
	"stop",
	"admin",
};

START_TEST(words_are_stable)
{
	ck_assert_uint_eq(SESS_N_ENDS, sizeof(words) / sizeof(words[0]) + 1);
	ck_assert_str_eq(sess_end_word(SESS_END_NONE), "");
	for (enum sess_end e = SESS_END_NONE + 1; e < SESS_N_ENDS; e++)
		ck_assert_str_eq(sess_end_word(e), words[e - 1]);
}
END_TEST

START_TEST(close_codes_are_sensible)
{
	for (enum sess_end e = SESS_END_NONE + 1; e < SESS_N_ENDS; e++) {
		uint16_t code = sess_end_close_code(e);
		ck_assert(code >= 1000 && code <= 1014);
		ck_assert_uint_ge(strlen(sess_end_meaning(e)), 8);
	}
}
END_TEST

START_TEST(the_man_page_lists_them)
{
	const char *tests = getenv("LB_TESTS");
	char path[512], text[65536], entry[128];

	ck_assert_msg(tests != NULL, "run by meson test, or with LB_TESTS set to tests/");
	(void)snprintf(path, sizeof(path), "%s/../man/lb.8", tests);
	FILE *f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	(void)fclose(f);
	text[n] = '\0';
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		(void)snprintf(entry, sizeof(entry), ".TP\n.B %s\n", words[i]);
		ck_assert_msg(strstr(text, entry) != NULL, "lb.8 lacks %s", words[i]);
	}
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, words_are_stable);
	tcase_add_test(t, close_codes_are_sensible);
	tcase_add_test(t, the_man_page_lists_them);
}

int main(void)
{
	return run_suite("proxy/end", add_tests);
}
