/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `drain` once, then `drain POOL/BACKEND status json` each second. Only the first command changes
 * anything, so that somebody else's `ready` is noticed and not undone. An interrupt ends the
 * waiting, not the drain.
 */
#include "ctl/wait.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "util/parse.h"

#define SAY_EVERY_S 10 /* on what is no terminal, while the count stays as it is */

void wait_rate_add(struct wait_rate *r, uint64_t left)
{
	r->left[r->next] = left;
	r->next = (r->next + 1) % WAIT_SAMPLES;
	r->n += r->n < WAIT_SAMPLES;
}

static uint64_t newest(const struct wait_rate *r)
{
	return r->left[(r->next + WAIT_SAMPLES - 1) % WAIT_SAMPLES];
}

static uint64_t oldest(const struct wait_rate *r)
{
	return r->left[(r->next + WAIT_SAMPLES - r->n) % WAIT_SAMPLES];
}

void wait_describe(const struct wait_rate *r, const char *target, struct text *out)
{
	char n[PARSE_TEXT_MAX], in[PARSE_TEXT_MAX];
	uint64_t left = newest(r), seconds = r->n - 1;
	uint64_t ended = oldest(r) > left ? oldest(r) - left : 0;

	text_addf(out, "%s: %s connection%s left", target, parse_format_uint(left, n),
		  left == 1 ? "" : "s");
	if (left == 0 || seconds == 0)
		return;
	if (ended == 0) {
		text_addf(out, ", none ended in the last %" PRIu64 "s", seconds);
		return;
	}
	uint64_t tenths = ended * 10 / seconds;
	text_addf(out, ", %" PRIu64 ".%" PRIu64 " end per second, over in about %s", tenths / 10,
		  tenths % 10,
		  parse_format_duration((left * seconds + ended - 1) / ended * 1000, in));
}

/* The text behind `key` in `answer`, or NULL. */
static const char *behind(struct slice answer, const char *key)
{
	const char *p = memmem(answer.p, answer.n, key, strlen(key));

	return p != NULL ? p + strlen(key) : NULL;
}

int wait_parse(struct slice answer, uint64_t *ret_left, bool *ret_is_draining)
{
	const char *active = behind(answer, "\"active\":");
	const char *state = behind(answer, "\"state\":\"");
	const char *end = answer.p + answer.n;
	size_t n = 0;

	if (active == NULL || state == NULL)
		return -EINVAL;
	while (active + n < end && active[n] >= '0' && active[n] <= '9')
		n++;
	struct slice rest = { .p = state, .n = (size_t)(end - state) };
	*ret_is_draining = slice_starts_with(rest, SLICE("draining\"")) ||
			   slice_starts_with(rest, SLICE("maint\""));
	return parse_uint((struct slice){ .p = active, .n = n }, ret_left);
}

/* Asks how many are left. Returns 0, or an exit status after saying why. */
static int ask(const struct ctl *c, uint64_t *ret_left, bool *ret_is_draining)
{
	_cleanup_(text_deinit) struct text answer = TEXT_INIT;
	int r = ctl_query(c, text_slice(&c->poll), &answer);

	if (r != 0)
		return r;
	if (wait_parse(text_slice(&answer), ret_left, ret_is_draining) == 0)
		return 0;
	r = ctl_print(text_slice(&answer), stdout, stderr); /* an error, mostly */
	return r != 0 ? r : CTL_FAILED;
}

/* On a terminal each line overwrites the last one. */
static void say(const struct wait_rate *rate, const char *target, bool is_terminal, bool is_last)
{
	_cleanup_(text_deinit) struct text line = TEXT_INIT;

	wait_describe(rate, target, &line);
	if (line.failed)
		return;
	(void)printf("%s%s%s", is_terminal ? "\r" : "", line.p, is_terminal ? "\033[K" : "\n");
	if (is_terminal && is_last)
		(void)fputc('\n', stdout);
	(void)fflush(stdout);
}

int wait_drained(const struct ctl *c)
{
	struct wait_rate rate = { 0 };
	bool is_terminal = isatty(STDOUT_FILENO), is_draining = true;
	uint64_t left = 0, said = UINT64_MAX;
	unsigned since_s = 0;

	int r = ctl_ask(c);
	while (r == 0 && (r = ask(c, &left, &is_draining)) == 0 && is_draining) {
		wait_rate_add(&rate, left);
		if (is_terminal || left != said || since_s >= SAY_EVERY_S) {
			say(&rate, c->target, is_terminal, left == 0);
			said = left;
			since_s = 0;
		}
		if (left == 0)
			return 0;
		(void)sleep(1);
		since_s++;
	}
	if (r == 0)
		(void)fprintf(stderr, "%slbctl: %s is not draining any more\n",
			      is_terminal ? "\n" : "", c->target);
	return r != 0 ? r : CTL_FAILED;
}
