/* SPDX-License-Identifier: Apache-2.0 */
/* TLS ends against OpenSSL's, over all suites, both record layers and both roles. */
#include "tls_fixture.h"

START_TEST(bytes_go_both_ways)
{
	static const size_t sizes[] = { 1, 64, 4096, 16384, 16385, 300000 };
	struct setup s = setup_of(_i);
	struct queue q = { 0 };
	size_t in = 0, out = 0;

	begin_tls(&s);
	shake();
	assert_shaken(name_of(_i));
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			peer_write(in, sizes[i]);
			peer_to_lb();
			expect_plain(in, sizes[i], name_of(_i));
			in += sizes[i];
			push_plain(&q, out, sizes[i], round == 0 ? 4096 : 100000);
			lb_write(&q);
			ck_assert_int_eq(peer_read(out, sizes[i], name_of(_i)),
					 SSL_ERROR_WANT_READ);
			out += sizes[i];
		}
		lb.piece = BUF_LARGE_BYTES;
	}
	ck_assert_int_eq(tls_is_compact(lb.t), s.layer == COMPACT);
	ck_assert_uint_eq(lb.es.counts.n_kept, 0);
	end_tls();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, bytes_go_both_ways, 0, N_ALL);
}

int main(void)
{
	return run_suite("net/tls", add_tests);
}
