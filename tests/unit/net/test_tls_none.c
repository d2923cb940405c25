/* SPDX-License-Identifier: Apache-2.0 */
/* A build without records: compact: what asks for it is told, and goes on with OpenSSL. */
#include "net/tls_check.h"
#include "tls_fixture.h"

START_TEST(compact_is_refused)
{
	struct err e = ERR_INIT;

	lb_begin();
	ck_assert_int_eq(tls_check_compact(lb.lib, &e), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(errors_of(&e), "not in this build"));
	err_deinit(&e);
	end_tls();
}
END_TEST

START_TEST(ends_stay_with_openssl)
{
	struct setup s = setup_of(_i);
	struct queue q = { 0 };

	begin_tls(&s);
	shake();
	assert_shaken(name_of(_i));
	for (size_t at = 0; at < 60000; at += 20000) {
		peer_write(at, 20000);
		peer_to_lb();
		expect_plain(at, 20000, name_of(_i));
		push_plain(&q, at, 20000, 4096);
		lb_write(&q);
		ck_assert_int_eq(peer_read(at, 20000, name_of(_i)), SSL_ERROR_WANT_READ);
	}
	ck_assert(!tls_is_compact(lb.t));
	ck_assert_uint_eq(lb.es.counts.n_kept, s.layer == COMPACT);
	end_tls();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, compact_is_refused);
	tcase_add_loop_test(t, ends_stay_with_openssl, 0, N_ALL);
}

int main(void)
{
	return run_suite("net/tls_none", add_tests);
}
