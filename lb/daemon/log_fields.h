/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Log fields: a log line as fields of a JSON object.
 *
 * A line is a fixed text, then key=value pairs; a value that has spaces stands in quotes.
 *
 * Thread: any. Layer: daemon.
 */

struct json;

/*
 * log_fields_add() - add "msg" and one field for each pair of `line` to an open JSON object
 *
 * A number becomes a JSON number, true and false become a JSON boolean, and any other value becomes
 * a string. The value of a key for names ("pool", "backend") always becomes a string. Words that
 * are not a pair belong to the text, or to the value in front of them. A key "time", "level" or
 * "msg" is not taken for a pair, because the JSON object has members of these names.
 */
void log_fields_add(struct json *j, const char *line);
