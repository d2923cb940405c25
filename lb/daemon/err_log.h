/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Errors that a person reads, as lines of the log.
 *
 * Thread: main. Layer: daemon.
 */

struct err;
struct log;

/* Writes a line `what: text` for each error, but none for a warning. */
void err_log_errors(const struct log *log, const char *what, const struct err *e);

/* Writes a line for each warning of a configuration. */
void err_log_warnings(const struct log *log, const struct err *e);
