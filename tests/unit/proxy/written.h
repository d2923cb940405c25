/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Configurations as a test writes them. */

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf.h"

/* The text of a file, loaded; a mistake in it fails the test. One reference. */
static inline LB_PRINTF(1, 2) struct conf *written(const char *fmt, ...)
{
	char path[] = "/tmp/test_conf.XXXXXX";
	struct err e = ERR_INIT;
	struct conf *conf = NULL;
	va_list ap;
	FILE *f = fdopen(mkstemp(path), "w");

	ck_assert_ptr_nonnull(f);
	va_start(ap, fmt);
	(void)vfprintf(f, fmt, ap);
	va_end(ap);
	ck_assert_int_eq(fclose(f), 0);
	int r = conf_load(path, &e, &conf);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_msg(r == 0, "%s", e.n_kept > 0 ? e.item[0].text : "unreadable");
	err_deinit(&e);
	return conf;
}
