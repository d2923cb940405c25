/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait_drained() sends `drain POOL/BACKEND` once (ctl_ask()), then `drain POOL/BACKEND status json`
 * once a second (query_left()), until no connection is left. Only the first command changes the
 * backend. So when a command of another client has ended the drain, wait_drained() does not drain
 * again, but returns. An interrupt ends lbctl, but not the drain.
 *
 * print_progress() prints the line that wait_describe() makes: on a terminal once a second, else
 * when the count has changed or REPEAT_S seconds have passed. The rate in that line comes from
 * struct wait_rate, a ring of the last WAIT_SAMPLES counts, one for each second.
 *
 * Relies on the keys "active" and "state" of lb's JSON (lbctl(1)), which wait_parse() looks for.
 */
#include "ctl/wait.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "util/parse.h"

/*
 * When stdout is no terminal and the count does not change, a line is printed after this many
 * seconds.
 */
#define REPEAT_S 10

void wait_rate_add(struct wait_rate *r, uint64_t left)
{
	r->left[r->next] = left;
	r->next = (r->next + 1) % WAIT_SAMPLES;
	r->n += r->n < WAIT_SAMPLES;
	/* A ring that is not full has its counts from index 0 on. */
	LB_ASSERT(r->n == WAIT_SAMPLES || r->next == r->n);
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

	LB_ASSERT(r->n > 0 && r->n <= WAIT_SAMPLES && r->next < WAIT_SAMPLES);
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

/* The text that follows `key` in `answer`, or NULL when `answer` does not have `key`. */
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
	LB_ASSERT(state <= end && active + n <= end);
	struct slice rest = { .p = state, .n = (size_t)(end - state) };
	*ret_is_draining = slice_starts_with(rest, SLICE("draining\"")) ||
			   slice_starts_with(rest, SLICE("maint\""));
	return parse_uint((struct slice){ .p = active, .n = n }, ret_left);
}

/*
 * Queries how many connections are left. Returns 0, or an exit status after a message that says
 * what went wrong.
 */
static int query_left(const struct ctl *c, uint64_t *ret_left, bool *ret_is_draining)
{
	_cleanup_(text_deinit) struct text answer = TEXT_INIT;
	int r = ctl_query(c, text_slice(&c->poll), &answer);

	if (r != 0)
		return r;
	if (wait_parse(text_slice(&answer), ret_left, ret_is_draining) == 0)
		return 0;
	r = ctl_print(text_slice(&answer), stdout, stderr); /* probably an error */
	return r != 0 ? r : CTL_FAILED;
}

/* Prints how many connections are left. On a terminal, each line overwrites the line before. */
static void print_progress(const struct wait_rate *rate, const char *target, bool is_terminal)
{
	_cleanup_(text_deinit) struct text line = TEXT_INIT;

	wait_describe(rate, target, &line);
	if (line.failed)
		return;
	(void)printf("%s%s%s", is_terminal ? "\r" : "", line.p, is_terminal ? "\033[K" : "\n");
	if (is_terminal && newest(rate) == 0)
		(void)fputc('\n', stdout);
	(void)fflush(stdout);
}

int wait_drained(const struct ctl *c)
{
	struct wait_rate rate = { 0 };
	bool is_terminal = isatty(STDOUT_FILENO), is_draining = true;
	uint64_t left = 0, printed = UINT64_MAX;
	unsigned since_s = 0; /* seconds since the last line was printed */

	LB_ASSERT(c->action == CTL_WAIT && c->target != NULL && c->poll.n > 0);
	int r = ctl_ask(c);
	while (r == 0 && (r = query_left(c, &left, &is_draining)) == 0 && is_draining) {
		wait_rate_add(&rate, left);
		if (is_terminal || left != printed || since_s >= REPEAT_S) {
			print_progress(&rate, c->target, is_terminal);
			printed = left;
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
