/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "../suite.h"
#include "util/assert.h"
#include "util/table.h"

START_TEST(columns_line_up)
{
	_cleanup_(text_deinit) struct text out = TEXT_INIT;
	struct table *t = table_new(3, (const char *const[]){ "NAME", "ACTIVE", "STATE" });

	ck_assert_ptr_nonnull(t);
	table_align_right(t, 1);
	table_cell(t, "%s", "b");
	table_cell(t, "%d", 12);
	table_cell(t, "up");
	table_cell(t, "backend");
	table_cell(t, "%d", 1234567);
	table_cell(t, "draining");
	table_print(t, &out);
	ck_assert_str_eq(out.p, "NAME      ACTIVE  STATE\n"
				"b             12  up\n"
				"backend  1234567  draining\n");
	t = table_free(t);
	ck_assert_ptr_null(t);
}
END_TEST

START_TEST(columns_may_be_hidden)
{
	_cleanup_(text_deinit) struct text out = TEXT_INIT;
	struct table *t = table_new(3, (const char *const[]){ "NAME", "ACTIVE", "STATE" });

	table_align_right(t, 1);
	table_cell(t, "backend");
	table_cell(t, "12");
	table_cell(t, "draining");
	ck_assert_uint_eq(table_width(t), strlen("backend  ACTIVE  draining"));
	table_hide(t, 0);
	ck_assert_uint_eq(table_width(t), strlen("ACTIVE  draining"));
	table_print(t, &out);
	ck_assert_str_eq(out.p, "ACTIVE  STATE\n    12  draining\n");
	text_clear(&out);
	table_hide(t, 2);
	ck_assert(table_is_hidden(t, 0) && !table_is_hidden(t, 1) && table_is_hidden(t, 2));
	table_print(t, &out);
	ck_assert_str_eq(out.p, "ACTIVE\n    12\n");
	table_free(t);
}
END_TEST

START_TEST(last_row_may_be_short)
{
	_cleanup_(text_deinit) struct text out = TEXT_INIT;
	struct table *t = table_new(2, (const char *const[]){ "A", "B" });

	table_cell(t, "1");
	table_print(t, &out);
	ck_assert_str_eq(out.p, "A  B\n1\n");
	table_free(t);
}
END_TEST

START_TEST(empty_cells_leave_no_space_at_the_end)
{
	_cleanup_(text_deinit) struct text out = TEXT_INIT;
	struct table *t = table_new(3, (const char *const[]){ "A", "B", "C" });

	table_cell(t, "%s", "");
	table_cell(t, "x");
	table_cell(t, "%s", "");
	table_print(t, &out);
	ck_assert_str_eq(out.p, "A  B  C\n   x\n");
	table_free(t);
}
END_TEST

/* A name from a peer can neither break lines nor control the terminal. */
START_TEST(control_characters_are_shown)
{
	_cleanup_(text_deinit) struct text out = TEXT_INIT;
	struct table *t = table_new(1, (const char *const[]){ "A" });

	table_cell(t, "x\n\x1b[2J\x7f");
	table_print(t, &out);
	ck_assert_str_eq(out.p, "A\nx??[2J?\n");
	table_free(t);
}
END_TEST

START_TEST(width_is_in_characters)
{
	_cleanup_(text_deinit) struct text out = TEXT_INIT;
	struct table *t = table_new(2, (const char *const[]){ "A", "B" });

	table_cell(t, "z\xc3\xbcrich");
	table_cell(t, "1");
	table_cell(t, "geneva");
	table_cell(t, "2");
	table_print(t, &out);
	ck_assert_str_eq(out.p, "A       B\nz\xc3\xbcrich  1\ngeneva  2\n");
	table_free(t);
}
END_TEST

START_TEST(free_takes_null)
{
	ck_assert_ptr_null(table_free(NULL));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, columns_line_up);
	tcase_add_test(t, columns_may_be_hidden);
	tcase_add_test(t, last_row_may_be_short);
	tcase_add_test(t, empty_cells_leave_no_space_at_the_end);
	tcase_add_test(t, control_characters_are_shown);
	tcase_add_test(t, width_is_in_characters);
	tcase_add_test(t, free_takes_null);
}

int main(void)
{
	return run_suite("util/table", add_tests);
}
