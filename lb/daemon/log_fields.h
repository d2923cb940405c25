/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Log fields: a log line as fields of a JSON object.
 *
 * A line is a fixed text, then key=value pairs; a value that has spaces stands in quotes. Pure.
 * Thread: any. Layer: daemon.
 */

struct json;

/*
 * log_fields_add() - add "msg" and one field for each pair of `line` to an open JSON object
 *
 * A number becomes a JSON number, true and false a JSON boolean, and anything else a string. A key
 * that holds a name from the file always has a string, whatever the name looks like. What is no
 * pair belongs to the text, or to the value before it. "time", "level" and "msg" are never pairs.
 */
void log_fields_add(struct json *j, const char *line);
