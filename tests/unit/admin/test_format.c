/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "fake.h"

#include "admin/format.h"

static struct status st;
static struct json j;
static struct text out;

static void setup(void)
{
	st = (struct status){ 0 };
	ck_assert_int_eq(fake_status(&fake, &st), 0);
}

static void teardown(void)
{
	status_deinit(&st);
	json_deinit(&j);
	text_deinit(&out);
}

#define CHAT \
	"{\"name\":\"chat\",\"balance\":\"hash\",\"active\":7,\"total\":2000,\"failed\":9," \
	"\"bytes_in\":1100,\"bytes_out\":2200,\"check_failures\":11," \
	"\"responses\":{\"1xx\":1,\"2xx\":2,\"3xx\":3,\"4xx\":4,\"5xx\":5},\"backends\":[" \
	"{\"name\":\"127.0.0.1:9001\",\"address\":\"127.0.0.1:9001\",\"state\":\"up\"," \
	"\"weight\":1,\"active\":4,\"total\":11,\"failed\":1,\"bytes_in\":1000," \
	"\"bytes_out\":2048,\"check\":{\"type\":\"websocket\",\"result\":\"101 in 1.2ms\"," \
	"\"since_s\":9,\"failures\":0},\"max_connections\":0,\"ports\":[]}," \
	"{\"name\":\"b2\",\"address\":\"127.0.0.1:9002\",\"state\":\"down\",\"weight\":2," \
	"\"active\":2,\"total\":12,\"failed\":0,\"bytes_in\":0,\"bytes_out\":0," \
	"\"check\":{\"type\":\"tcp\",\"result\":\"refused\",\"since_s\":8,\"failures\":6}," \
	"\"max_connections\":20000,\"ports\":[{\"source\":\"10.0.0.5\",\"used\":1,\"limit\":" \
	"28232},{\"source\":\"10.0.0.6\",\"used\":1,\"limit\":28232}]}," \
	"{\"name\":\"b2\",\"address\":\"127.0.0.1:9009\",\"state\":\"draining\",\"weight\":5," \
	"\"active\":1,\"total\":100,\"failed\":0,\"bytes_in\":0,\"bytes_out\":0," \
	"\"check\":{\"type\":\"none\",\"result\":\"\",\"since_s\":0,\"failures\":0},\"max_" \
	"connections\":0," \
	"\"ports\":[]," \
	"\"removed\":true}]}"
#define WEB \
	"{\"name\":\"web\",\"balance\":\"first\",\"active\":0,\"total\":0,\"failed\":0," \
	"\"bytes_in\":0,\"bytes_out\":0,\"check_failures\":0," \
	"\"responses\":{\"1xx\":0,\"2xx\":0,\"3xx\":0,\"4xx\":0,\"5xx\":0},\"backends\":[" \
	"{\"name\":\"w\",\"address\":\"127.0.0.1:80\",\"state\":\"up\",\"weight\":1," \
	"\"active\":0,\"total\":0,\"failed\":0,\"bytes_in\":0,\"bytes_out\":0," \
	"\"check\":{\"type\":\"none\",\"result\":\"\",\"since_s\":0,\"failures\":0},\"max_" \
	"connections\":0," \
	"\"ports\":[]}]}"

START_TEST(stats_as_json)
{
	format_status_json(&st, &j);
	ck_assert(json_is_ok(&j));
	ck_assert_str_eq(j.out.p,
			 "{\"version\":\"1.2.3\",\"pid\":42,\"uptime_s\":61,\"generation\":3,"
			 "\"engine\":\"epoll\",\"descriptor_tables\":\"own\",\"workers\":["
			 "{\"id\":0,\"active\":3,\"accepted\":10,\"limit\":500},"
			 "{\"id\":1,\"active\":4,\"accepted\":20,\"limit\":500}],\"connections\":{"
			 "\"active\":7,"
			 "\"handshaking\":1,\"total\":30,\"limit\":1000,\"forecast\":900,"
			 "\"forecast_by\":\"memory\"},\"listeners\":[{\"name\":"
			 "\"public\","
			 "\"bind\":\"0.0.0.0:8080\",\"active\":7,\"accepted\":30,\"rejected\":2}],"
			 "\"certificates\":[{\"listener\":\"public\",\"file\":\"/etc/lb/chat.pem\","
			 "\"names\":[\"chat.test\",\"*.chat.test\"],\"not_before_s\":1700000000,"
			 "\"not_after_s\":1800000000,\"days_left\":51},"
			 "{\"listener\":\"public\",\"file\":\"/etc/lb/old.pem\",\"names\":[],"
			 "\"not_before_s\":1600000000,\"not_after_s\":1700000000,"
			 "\"days_left\":-1106}],"
			 "\"pools\":[" CHAT "," WEB "],\"ends\":{\"client_closed\":5,\"idle\":0},"
			 "\"requests\":{\"completed\":3,\"tunnel\":0},"
			 "\"counters\":{\"frames_in\":77},\"response_seconds\":{\"count\":2,"
			 "\"sum\":0.250000},"
			 "\"responses\":{\"1xx\":0,\"2xx\":0,\"3xx\":0,\"4xx\":21,\"5xx\":0},"
			 "\"reload\":{\"ok\":true,\"time_s\":1795514400},"
			 "\"handshake_seconds\":{\"count\":4,\"sum\":1.500000}}");
}
END_TEST

START_TEST(backends_as_json)
{
	static const char *const rows[][2] = {
		{ "", "{\"pools\":[" CHAT "," WEB "]}" },
		{ "chat", "{\"pools\":[" CHAT "]}" },
		{ "web", "{\"pools\":[" WEB "]}" },
		{ "none", "{\"pools\":[]}" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		format_backends_json(&st, rows[i][0], &j);
		ck_assert(json_is_ok(&j));
		ck_assert_str_eq(j.out.p, rows[i][1]);
		json_deinit(&j);
	}
}
END_TEST

START_TEST(conns_as_json)
{
	format_conns_json(&(struct admin_conn_list){ fake_conns, 2, 66824 }, &j);
	ck_assert(json_is_ok(&j));
	ck_assert_str_eq(j.out.p,
			 "{\"conns\":[{\"id\":7,\"client\":\"10.0.0.1:5555\","
			 "\"listener\":\"public\",\"pool\":\"chat\",\"backend\":\"b2\","
			 "\"state\":\"relay\",\"conn_state\":\"tunnel\",\"request_state\":\"\","
			 "\"age_s\":61,\"bytes_in\":10,\"bytes_out\":2048},"
			 "{\"id\":8,\"client\":\"10.0.0.2:5556\",\"listener\":\"public\","
			 "\"pool\":\"\",\"backend\":\"\",\"state\":\"hello\","
			 "\"conn_state\":\"busy\",\"request_state\":\"head\",\"age_s\":0,"
			 "\"bytes_in\":0,\"bytes_out\":0}],\"total\":66824}");
	json_deinit(&j);
	format_conns_json(&(struct admin_conn_list){ 0 }, &j);
	ck_assert_str_eq(j.out.p, "{\"conns\":[],\"total\":0}");
}
END_TEST

#define TABLE_CHAT \
	"POOL  BACKEND         ADDRESS         STATE               CHECK         WEIGHT  " \
	"ACTIVE  TOTAL  FAILED      IN      OUT\n" \
	"chat  127.0.0.1:9001  127.0.0.1:9001  up                  101 in 1.2ms       1  " \
	"     4     11       1  1000 B  2.0 KiB\n" \
	"chat  b2              127.0.0.1:9002  down                refused            2  " \
	"     2     12       0     0 B      0 B\n" \
	"chat  b2              127.0.0.1:9009  draining (removed)  -                  5  " \
	"     1    100       0     0 B      0 B\n"
#define ROW_WEB \
	"web   w               127.0.0.1:80    up                  -                  1  " \
	"     0      0       0     0 B      0 B\n"

/* The same, without what does not fit. */
#define NARROW_CHAT \
	"POOL  BACKEND         STATE               CHECK         ACTIVE  TOTAL  FAILED\n" \
	"chat  127.0.0.1:9001  up                  101 in 1.2ms       4     11       1\n" \
	"chat  b2              down                refused            2     12       0\n" \
	"chat  b2              draining (removed)  -                  1    100       0\n"
#define NARROW_HINT "(without ADDRESS, WEIGHT, IN, OUT; --wide shows all columns)\n"

START_TEST(tables_fit_80_columns)
{
	format_backends_text(&st, "chat", FORMAT_NARROW, &out);
	ck_assert_str_eq(out.p, NARROW_CHAT NARROW_HINT);
	text_clear(&out);
	format_status_text(&st, FORMAT_NARROW, &out);
	for (const char *line = out.p; *line != '\0'; line += strcspn(line, "\n") + 1)
		ck_assert_uint_le(strcspn(line, "\n"), 80);
}
END_TEST

/* Where each name is the address, the address is not said twice. */
START_TEST(an_address_is_not_said_twice)
{
	struct status_backend *b = st.pools[1].backends;

	b->name = b->address;
	format_backends_text(&st, "web", FORMAT_NARROW, &out);
	ck_assert_str_eq(
		out.p,
		"POOL  BACKEND       STATE  CHECK  WEIGHT  ACTIVE  TOTAL  FAILED   IN  OUT\n"
		"web   127.0.0.1:80  up     -           1       0      0       0  0 B  0 B\n");
}
END_TEST

START_TEST(what_is_cut_is_said)
{
	format_conns_text(&(struct admin_conn_list){ fake_conns, 1, 66824 }, FORMAT_NARROW, &out);
	ck_assert_ptr_nonnull(strstr(out.p, "\n1 of 66,824 shown\n"));
}
END_TEST

/* Many reasons need several lines. */
START_TEST(ends_are_wrapped)
{
	static const struct status_end many[] = {
		{ "client_vanished", 123456789, 0 },
		{ "backend_vanished", 123456789, 0 },
		{ "handshake_timeout", 123456789, 0 },
		{ "response_timeout", 123456789, 0 },
	};
	free(st.ends);
	st.ends = COPY(many);
	st.n_ends = ARRAY_SIZE(many);
	format_status_text(&st, FORMAT_NARROW, &out);
	ck_assert_ptr_nonnull(
		strstr(out.p, "\nends: client_vanished=123456789 backend_vanished=123456789\n"
			      "      handshake_timeout=123456789 response_timeout=123456789\n"));
}
END_TEST

START_TEST(stats_as_tables)
{
	format_status_text(&st, FORMAT_WIDE, &out);
	ck_assert_str_eq(
		out.p,
		"lb 1.2.3, pid 42, up 1m1s, generation 3, engine epoll, 2 workers\n"
		"connections: 7 active (1 in the handshake), 30 accepted\n"
		"capacity: limit 1000, forecast 900 (memory)\n"
		"LISTENER  BIND          ACTIVE  ACCEPTED  REJECTED\n"
		"public    0.0.0.0:8080       7        30         2\n"
		"LISTENER  NAMES                   FILE              DAYS LEFT\n"
		"public    chat.test (and 1 more)  /etc/lb/chat.pem         51\n"
		"public    -                       /etc/lb/old.pem       -1106\n" TABLE_CHAT ROW_WEB
		"ends: client_closed=5\n");
}
END_TEST

START_TEST(nothing_has_ended)
{
	st.ends[0].n = 0;
	format_status_text(&st, FORMAT_NARROW, &out);
	ck_assert_ptr_nonnull(strstr(out.p, "\nends: none\n"));
}
END_TEST

START_TEST(backends_as_a_table)
{
	format_backends_text(&st, "chat", FORMAT_WIDE, &out);
	ck_assert_str_eq(out.p, TABLE_CHAT);
}
END_TEST

START_TEST(conns_as_a_table)
{
	format_conns_text(&fake_conn_list, FORMAT_WIDE, &out);
	ck_assert_str_eq(out.p, "ID  CLIENT         LISTENER  POOL  BACKEND  STATE  CONN    "
				"REQUEST   AGE    IN      OUT\n"
				"7   10.0.0.1:5555  public    chat  b2       relay  tunnel  -      "
				"  1m1s  10 B  2.0 KiB\n"
				"8   10.0.0.2:5556  public    -     -        hello  busy    head   "
				"    0s   0 B      0 B\n");
	text_clear(&out);
	format_conns_text(&fake_conn_list, FORMAT_NARROW, &out);
	ck_assert_str_eq(out.p,
			 "ID  CLIENT         LISTENER  POOL  BACKEND  STATE   AGE    IN      OUT\n"
			 "7   10.0.0.1:5555  public    chat  b2       relay  1m1s  10 B  2.0 KiB\n"
			 "8   10.0.0.2:5556  public    -     -        hello    0s   0 B      0 B\n"
			 "(without CONN, REQUEST; --wide shows all columns)\n");
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, stats_as_json);
	tcase_add_test(t, backends_as_json);
	tcase_add_test(t, conns_as_json);
	tcase_add_test(t, stats_as_tables);
	tcase_add_test(t, nothing_has_ended);
	tcase_add_test(t, backends_as_a_table);
	tcase_add_test(t, tables_fit_80_columns);
	tcase_add_test(t, an_address_is_not_said_twice);
	tcase_add_test(t, what_is_cut_is_said);
	tcase_add_test(t, ends_are_wrapped);
	tcase_add_test(t, conns_as_a_table);
}

int main(void)
{
	return run_suite("admin/format", add_tests);
}
