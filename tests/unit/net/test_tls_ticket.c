/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../suite.h"
#include "net/tls_ticket.h"

/* A key of 80 equal bytes; lines of base64 for 0x01 and so on. */
static struct tls_ticket_key key_of(uint8_t byte)
{
	struct tls_ticket_key k;

	memset(&k, byte, sizeof(k));
	return k;
}

START_TEST(rotation_keeps_three)
{
	struct tls_ticket_keys keys = { .key = { key_of(1) }, .n = 1 }, got;
	struct tls_tickets *t = tls_tickets_new(&keys);

	for (uint8_t i = 2; i < 20; i++) {
		struct tls_ticket_key fresh = key_of(i);
		tls_tickets_rotate(t, &fresh);
		tls_tickets_get(t, &got);
		ck_assert_uint_eq(got.n, i < 3 ? i : 3);
		for (uint32_t k = 0; k < got.n; k++)
			ck_assert_uint_eq(got.key[k].aes[5], i - k);
	}
	tls_tickets_set(t, &keys);
	tls_tickets_get(t, &got);
	ck_assert_uint_eq(got.n, 1);
	ck_assert_mem_eq(&got.key[0], &keys.key[0], sizeof(got.key[0]));
	ck_assert_ptr_null(tls_tickets_unref(t));
}
END_TEST

START_TEST(references_are_counted)
{
	struct tls_ticket_keys keys = { .key = { key_of(1) }, .n = 1 }, got;
	struct tls_tickets *t = tls_tickets_new(&keys);

	ck_assert_ptr_eq(tls_tickets_ref(t), t);
	tls_tickets_unref(t);
	tls_tickets_get(t, &got);
	ck_assert_uint_eq(got.n, 1);
	tls_tickets_unref(t);
	ck_assert_ptr_null(tls_tickets_unref(NULL));
}
END_TEST

START_TEST(random_keys_differ)
{
	struct tls_ticket_key a, b;

	ck_assert_int_eq(tls_ticket_key_random(&a), 0);
	ck_assert_int_eq(tls_ticket_key_random(&b), 0);
	ck_assert_mem_ne(a.name, b.name, sizeof(a.name));
	ck_assert_mem_ne(a.aes, b.aes, sizeof(a.aes));
	ck_assert_mem_ne(a.hmac, b.hmac, sizeof(a.hmac));
	ck_assert_mem_ne(a.aes, a.hmac, sizeof(a.aes));
}
END_TEST

/* Threads that read while another one writes see whole keys only. */
static atomic_bool is_over;

static void *read_keys(void *arg)
{
	long n = 0;

	while (!atomic_load(&is_over) || n == 0) {
		struct tls_ticket_keys got;
		tls_tickets_get(arg, &got);
		for (uint32_t k = 0; k < got.n; k++) {
			struct tls_ticket_key want = key_of(got.key[k].name[0]);
			if (memcmp(&got.key[k], &want, sizeof(want)) != 0)
				return arg;
			if (k > 0 && (uint8_t)(got.key[k - 1].name[0] - 1) != got.key[k].name[0])
				return arg;
		}
		n++;
	}
	return NULL;
}

START_TEST(readers_see_whole_keys)
{
	struct tls_ticket_keys keys = { .key = { key_of(1) }, .n = 1 };
	struct tls_tickets *t = tls_tickets_new(&keys);
	pthread_t reader[2];

	atomic_store(&is_over, false);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&reader[i], NULL, read_keys, t), 0);
	for (uint32_t i = 2; i < 20000; i++) {
		struct tls_ticket_key fresh = key_of((uint8_t)i);
		tls_tickets_rotate(t, &fresh);
	}
	atomic_store(&is_over, true);
	for (int i = 0; i < 2; i++) {
		void *torn;
		ck_assert_int_eq(pthread_join(reader[i], &torn), 0);
		ck_assert_msg(torn == NULL, "a reader saw a mixture");
	}
	tls_tickets_unref(t);
}
END_TEST

/* 80 bytes of 0x01, of 0x02, of 0xff. */
#define A20 "AQEBAQEBAQEBAQEBAQEBAQEBAQEB"
#define KEY1 \
	"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB" \
	"AQEBAQEBAQEBAQEBAQE="
#define KEY2 \
	"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC" \
	"AgICAgICAgICAgICAgI="

static const struct {
	const char *name, *text;
	uint32_t n;        /* keys; 0: refused */
	const char *error; /* how the message begins */
} files[] = {
	{ "one", KEY1 "\n", 1, NULL },
	{ "no end of line", KEY1, 1, NULL },
	{ "two, with a comment", "# new\n" KEY2 "\r\n\n# old\n" KEY1 "\n", 2, NULL },
	{ "three", KEY1 "\n" KEY2 "\n" KEY1 "\n", 3, NULL },
	{ "four", KEY1 "\n" KEY2 "\n" KEY1 "\n" KEY2 "\n", 0, "keys:4:1: more than 3 keys" },
	{ "empty", "", 0, "keys: no key of tickets" },
	{ "comments", "# a\n\n", 0, "keys: no key of tickets" },
	{ "too short", KEY1 "\nAQEB\n", 0, "keys:2:1: this line is no key" },
	{ "too long", KEY1 "AQEB\n", 0, "keys:1:1: this line is no key" },
	{ "81 bytes", A20 A20 A20 "AQEBAQEBAQEBAQEBAQEBAQEB\n", 0,
	  "keys:1:1: this line is no key" },
	{ "no base64",
	  "!QEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
	  "AQEBAQEBA"
	  "QEBAQEBAQE=\n",
	  0, "keys:1:1: this line is no key" },
};

START_TEST(files_are_parsed)
{
	struct tls_ticket_keys keys = { 0 };
	struct err e = ERR_INIT;
	struct tls_pem file = { .file = "keys", .text = slice_of(files[_i].text) };
	int r = tls_ticket_keys_parse(file, &e, &keys);
	char scratch[64];

	ck_assert_msg((r == 0) == (files[_i].n > 0), "%s", files[_i].name);
	ck_assert_uint_eq(keys.n, files[_i].n);
	if (files[_i].error != NULL) {
		ck_assert_uint_eq(err_n_lines(&e), 1);
		const char *line = err_line(&e, 0, scratch, sizeof(scratch));
		ck_assert_msg(strncmp(line, files[_i].error, strlen(files[_i].error)) == 0,
			      "%s: %s", files[_i].name, line);
		/* What stands in the file is a secret, or was meant to be one. */
		ck_assert_ptr_null(strstr(line, "AQEB"));
	} else if (files[_i].n == 2) {
		struct tls_ticket_key first = key_of(2);
		ck_assert_mem_eq(&keys.key[0], &first, sizeof(first));
	}
	err_deinit(&e);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, rotation_keeps_three);
	tcase_add_test(t, references_are_counted);
	tcase_add_test(t, random_keys_differ);
	tcase_add_test(t, readers_see_whole_keys);
	tcase_add_loop_test(t, files_are_parsed, 0, (int)ARRAY_SIZE(files));
}

int main(void)
{
	return run_suite("net/tls_ticket", add_tests);
}
