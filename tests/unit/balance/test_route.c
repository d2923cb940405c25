/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "balance/route.h"
#include "conf/conf.h"
#include "util/assert.h"

static char host[] = "chat.example.com", suffix[] = ".example.com", path[] = "/exact",
	    prefix[] = "/ws/", header[] = "X-Canary", value[] = "1";
static struct conf_header_cond cond = { .name = header, .value = value };

/* Row by row what the requests below are to meet first. */
static struct conf_route rows[] = {
	{ .host = host, .path = prefix, .path_is_prefix = true },
	{ .host = suffix, .host_is_suffix = true, .websocket = CONF_YES },
	{ .path = path },
	{ .n_headers = 1, .headers = &cond },
	{ .websocket = CONF_NO, .host = host },
};

static const struct {
	const char *name, *host, *path, *header;
	bool is_websocket;
	int want;
} requests[] = {
	{ "host and prefix", "chat.example.com", "/ws/a", NULL, true, 0 },
	{ "the prefix alone", "chat.example.com", "/ws/", NULL, true, 0 },
	{ "host in any case", "CHAT.Example.Com", "/ws/a", NULL, true, 0 },
	{ "without the prefix's slash", "chat.example.com", "/ws", NULL, true, 1 },
	{ "a suffix, deeper", "a.b.example.com", "/", NULL, true, 1 },
	{ "a suffix is not its own name", "example.com", "/", NULL, true, -1 },
	{ "a suffix needs its dot", "badexample.com", "/", NULL, true, -1 },
	{ "exact path", "other", "/exact", NULL, true, 2 },
	{ "exact path is exact", "other", "/exact/", NULL, true, -1 },
	{ "path's case counts", "other", "/EXACT", NULL, true, -1 },
	{ "header", "other", "/", "1", true, 3 },
	{ "header with another value", "other", "/", "2", true, -1 },
	{ "a plain request", "chat.example.com", "/", NULL, false, 4 },
	{ "no host at all", "", "/", NULL, false, -1 },
	{ "the first of two that match", "chat.example.com", "/exact", "1", false, 2 },
};

static bool has_header(void *arg, struct slice name, struct slice wanted)
{
	const char *got = arg;

	return got != NULL && slice_eq_nocase(name, SLICE("x-canary")) &&
	       slice_eq(slice_of(got), wanted);
}

START_TEST(first_match_wins)
{
	struct conf_listener l = { .n_routes = ARRAY_SIZE(rows), .routes = rows };
	struct route_table *t = route_table_new(&l);
	char got_header[] = { 0, 0 };
	struct route_req r = {
		.host = slice_of(requests[_i].host),
		.path = slice_of(requests[_i].path),
		.is_websocket = requests[_i].is_websocket,
		.has_header = has_header,
		.arg = requests[_i].header != NULL ? got_header : NULL,
	};

	if (requests[_i].header != NULL)
		got_header[0] = requests[_i].header[0];
	int got = route_match(t, &r);
	ck_assert_msg(got == requests[_i].want, "%s: row %d", requests[_i].name, got);
	route_table_free(t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("balance/route");
	TCase *t = tcase_create("route");

	tcase_add_loop_test(t, first_match_wins, 0, ARRAY_SIZE(requests));
	suite_add_tcase(s, t);

	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
