/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "proto/accept_key.h"

#include <check.h>

/* The first is RFC 6455's own (1.3); the second was computed with Python's hashlib. */
static const struct {
	const char *key, *accept;
} keys[] = {
	{ "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" },
	{ "AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI=" },
};

START_TEST(key_is_answered)
{
	char out[ACCEPT_KEY_TEXT];

	ck_assert_int_eq(accept_key(keys[_i].key, out), 0);
	ck_assert_str_eq(out, keys[_i].accept);
}
END_TEST

START_TEST(nonce_becomes_a_key)
{
	const uint8_t nonce[16] = { 't', 'h', 'e', ' ', 's', 'a', 'm', 'p',
				    'l', 'e', ' ', 'n', 'o', 'n', 'c', 'e' };
	char out[ACCEPT_KEY_NONCE_TEXT];

	accept_key_encode_nonce(nonce, out);
	ck_assert_str_eq(out, keys[0].key);
}
END_TEST

/* Where libcrypto lacks SHA-1 by policy is tried with a whole lb (test_engine.py). */
START_TEST(libcrypto_has_what_is_needed)
{
	ck_assert_int_eq(accept_key_check(), 0);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, key_is_answered, 0, sizeof(keys) / sizeof(keys[0]));
	tcase_add_test(t, nonce_becomes_a_key);
	tcase_add_test(t, libcrypto_has_what_is_needed);
}

int main(void)
{
	return run_suite("proto/accept_key", add_tests);
}
