/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <signal.h>

#include "../suite.h"
#include "util/list.h"

struct item {
	char c;
	struct list link;
};

static struct item a = { .c = 'a' }, b = { .c = 'b' }, c = { .c = 'c' }, d = { .c = 'd' };

static void unlink_all(void)
{
	list_init(&a.link);
	list_init(&b.link);
	list_init(&c.link);
	list_init(&d.link);
}

/* The list's letters, read forwards, checked against the way back. */
static const char *letters(struct list *head)
{
	static char out[8];
	size_t n = 0, back = 0;

	list_for_each(it, head) out[n++] = list_entry(it, struct item, link)->c;
	out[n] = '\0';
	for (struct list *it = head->prev; it != head; it = it->prev)
		ck_assert_int_eq(list_entry(it, struct item, link)->c, out[n - ++back]);
	ck_assert_uint_eq(n, back);
	return out;
}

START_TEST(order_of_additions)
{
	struct list head = LIST_INIT(head);

	unlink_all();
	ck_assert(list_is_empty(&head));
	ck_assert(!list_is_linked(&a.link));
	list_add_tail(&head, &b.link);
	list_add_tail(&head, &c.link);
	list_add_head(&head, &a.link);
	ck_assert(!list_is_empty(&head));
	ck_assert(list_is_linked(&a.link));
	ck_assert_str_eq(letters(&head), "abc");
}
END_TEST

START_TEST(deletion)
{
	struct list head = LIST_INIT(head);

	unlink_all();
	list_add_tail(&head, &a.link);
	list_add_tail(&head, &b.link);
	list_add_tail(&head, &c.link);
	list_del(&b.link);
	ck_assert(!list_is_linked(&b.link));
	list_del(&b.link); /* harmless */
	ck_assert_str_eq(letters(&head), "ac");
	list_del(&a.link);
	list_del(&c.link);
	ck_assert(list_is_empty(&head));
}
END_TEST

START_TEST(deletion_while_walking)
{
	struct list head = LIST_INIT(head);

	unlink_all();
	list_add_tail(&head, &a.link);
	list_add_tail(&head, &b.link);
	list_add_tail(&head, &c.link);
	list_for_each(it, &head) if (list_entry(it, struct item, link)->c != 'b') list_del(it);
	ck_assert_str_eq(letters(&head), "b");
}
END_TEST

START_TEST(splice)
{
	struct list to = LIST_INIT(to), from = LIST_INIT(from);

	unlink_all();
	list_splice_tail(&to, &from);
	ck_assert(list_is_empty(&to));
	list_add_tail(&from, &c.link);
	list_add_tail(&from, &d.link);
	list_splice_tail(&to, &from);
	ck_assert_str_eq(letters(&to), "cd");
	ck_assert(list_is_empty(&from));
	list_add_tail(&from, &a.link);
	list_splice_tail(&to, &from);
	ck_assert_str_eq(letters(&to), "cda");
}
END_TEST

START_TEST(an_element_that_was_freed_aborts)
{
	struct list head = LIST_INIT(head);
	struct list first, second;

	list_add_tail(&head, &first);
	list_add_tail(&head, &second);
	first.next = &head; /* as memory that was used again would look */
	list_del(&second);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, order_of_additions);
	tcase_add_test(t, deletion);
	tcase_add_test(t, deletion_while_walking);
	tcase_add_test(t, splice);
	tcase_add_test_raise_signal(t, an_element_that_was_freed_aborts, SIGABRT);
}

int main(void)
{
	return run_suite("util/list", add_tests);
}
