/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "fake.h"

#include "admin/prom.h"

static struct status st;
static struct text out;

static void setup(void)
{
	st = (struct status){ 0 };
	ck_assert_int_eq(fake_status(&fake, &st), 0);
}

static void teardown(void)
{
	status_deinit(&st);
	text_deinit(&out);
}

/* Whether `line` is one of the lines of `out`. */
static bool has_line(const char *line)
{
	size_t n = strlen(line);

	for (const char *p = out.p; (p = strstr(p, line)) != NULL; p++)
		if ((p == out.p || p[-1] == '\n') && p[n] == '\n')
			return true;
	return false;
}

static const char *const lines[] = {
	"lb_info{version=\"1.2.3\",engine=\"epoll\"} 1",
	"lb_build_info{version=\"1.2.3\",engine=\"epoll\"} 1",
	"lb_uptime_seconds 61",
	"lb_config_last_reload_successful 1",
	"lb_config_last_reload_timestamp_seconds 1795514400.500",
	"# TYPE process_cpu_seconds_total counter",
	"process_cpu_seconds_total 1.250",
	"process_resident_memory_bytes 4096",
	"process_virtual_memory_bytes 8192",
	"process_open_fds 33",
	"process_max_fds 60000",
	"process_start_time_seconds 1795514300.000",
	"process_threads 4",
	"lb_responses_total{pool=\"\",class=\"4xx\"} 21",
	"lb_responses_total{pool=\"chat\",class=\"1xx\"} 1",
	"lb_responses_total{pool=\"chat\",class=\"5xx\"} 5",
	"lb_response_seconds_sum{pool=\"chat\"} 0.250000000",
	"lb_response_seconds_count{pool=\"chat\"} 2",
	"lb_generation 3",
	"# TYPE lb_connections_active gauge",
	"lb_connections_active 7",
	"lb_connections_handshaking 1",
	"# TYPE lb_connections_total counter",
	"lb_connections_total 30",
	"lb_connections_limit 1000",
	"lb_connections_forecast 900",
	"lb_worker_connections_limit{worker=\"1\"} 500",
	"lb_backend_ports_used{pool=\"chat\",backend=\"b2\",source=\"10.0.0.6\"} 1",
	"lb_backend_ports_limit{pool=\"chat\",backend=\"b2\",source=\"10.0.0.5\"} 28232",
	"lb_listener_connections_active{listener=\"public\",bind=\"0.0.0.0:8080\"} 7",
	"lb_listener_accepted_total{listener=\"public\",bind=\"0.0.0.0:8080\"} 30",
	"lb_listener_rejected_total{listener=\"public\",bind=\"0.0.0.0:8080\"} 2",
	"# TYPE lb_certificate_days_left gauge",
	"lb_certificate_days_left{listener=\"public\",file=\"/etc/lb/"
	"chat.pem\",name=\"chat.test\"} "
	"51",
	"lb_certificate_days_left{listener=\"public\",file=\"/etc/lb/old.pem\",name=\"\"} -1106",
	"lb_certificate_not_after_timestamp_seconds{listener=\"public\",file=\"/etc/lb/old.pem\","
	"name=\"\"} 1700000000",
	"lb_worker_connections_active{worker=\"0\"} 3",
	"lb_worker_accepted_total{worker=\"1\"} 20",
	"lb_backend_up{pool=\"chat\",backend=\"127.0.0.1:9001\"} 1",
	"lb_backend_failed_total{pool=\"chat\",backend=\"127.0.0.1:9001\"} 1",
	"lb_backend_bytes_total{pool=\"chat\",backend=\"127.0.0.1:9001\",direction=\"in\"} 1000",
	"lb_backend_bytes_total{pool=\"chat\",backend=\"127.0.0.1:9001\",direction=\"out\"} 2048",
	"lb_backend_state{pool=\"web\",backend=\"w\",state=\"up\"} 1",
	"lb_backend_state{pool=\"web\",backend=\"w\",state=\"down\"} 0",
	"lb_backend_state{pool=\"web\",backend=\"w\",state=\"draining\"} 0",
	"lb_backend_state{pool=\"web\",backend=\"w\",state=\"maint\"} 0",
	"lb_backend_state{pool=\"web\",backend=\"w\",state=\"checking\"} 0",
	"lb_backend_check_failures_total{pool=\"chat\",backend=\"b2\"} 6",
	/* two of one name, the second one removed, and a third one of the past: one sample */
	"lb_backend_state{pool=\"chat\",backend=\"b2\",state=\"down\"} 1",
	"lb_backend_state{pool=\"chat\",backend=\"b2\",state=\"draining\"} 0",
	"lb_backend_bytes_total{pool=\"chat\",backend=\"b2\",direction=\"in\"} 5",
	"lb_backend_connections_active{pool=\"chat\",backend=\"b2\"} 3",
	"lb_backend_connections_total{pool=\"chat\",backend=\"b2\"} 1112",
	"lb_backend_connections_limit{pool=\"chat\",backend=\"b2\"} 20000",
	"lb_backend_up{pool=\"chat\",backend=\"b2\"} 0",
	"lb_backend_weight{pool=\"chat\",backend=\"b2\"} 2",
	"lb_backend_up{pool=\"web\",backend=\"w\"} 1",
	/* names and pools that are gone: their counters */
	"lb_backend_connections_total{pool=\"chat\",backend=\"former\"} 77",
	"lb_backend_check_failures_total{pool=\"chat\",backend=\"former\"} 3",
	"lb_backend_connections_total{pool=\"left\",backend=\"x\"} 8",
	"lb_pool_connections_total{pool=\"left\"} 8",
	"lb_pool_connections_total{pool=\"chat\"} 2000",
	"lb_pool_failed_total{pool=\"chat\"} 9",
	"lb_pool_bytes_total{pool=\"chat\",direction=\"in\"} 1100",
	"lb_pool_bytes_total{pool=\"chat\",direction=\"out\"} 2200",
	"lb_pool_check_failures_total{pool=\"chat\"} 11",
	"lb_pool_connections_total{pool=\"web\"} 0",
	"lb_ends_total{pool=\"\",reason=\"client_closed\"} 2",
	"lb_ends_total{pool=\"\",reason=\"idle\"} 0",
	"lb_ends_total{pool=\"chat\",reason=\"client_closed\"} 2",
	"lb_ends_total{pool=\"left\",reason=\"client_closed\"} 1",
	"# TYPE lb_requests_total counter",
	"lb_requests_total{outcome=\"completed\"} 3",
	"lb_requests_total{outcome=\"tunnel\"} 0",
	"# HELP lb_frames_in_total WebSocket frames from clients.",
	"# TYPE lb_frames_in_total counter",
	"lb_frames_in_total 77",
	"# TYPE lb_handshake_seconds histogram",
	"lb_handshake_seconds_bucket{pool=\"chat\",le=\"0.001\"} 3",
	"lb_handshake_seconds_bucket{pool=\"chat\",le=\"+Inf\"} 4",
	"lb_handshake_seconds_sum{pool=\"chat\"} 1.500000000",
	"lb_handshake_seconds_count{pool=\"chat\"} 4",
};

START_TEST(figures_are_there)
{
	prom_print(&st, &out);
	ck_assert_msg(has_line(lines[_i]), "%s is not in\n%s", lines[_i], out.p);
}
END_TEST

/* What a pool never met costs no line: there may be 10,000 pools. */
START_TEST(a_pool_has_no_zeros)
{
	prom_print(&st, &out);
	ck_assert_ptr_null(strstr(out.p, "lb_ends_total{pool=\"web\""));
	ck_assert_ptr_null(strstr(out.p, "lb_ends_total{pool=\"chat\",reason=\"idle\""));
	ck_assert_ptr_null(strstr(out.p, "_seconds_count{pool=\"web\""));
	ck_assert_ptr_null(strstr(out.p, "_seconds_bucket{pool=\"left\""));
}
END_TEST

/* The name that a sample belongs to: without what a histogram adds. */
static size_t family_len(const char *line)
{
	static const char *const ends[] = { "_bucket", "_sum", "_count" };
	size_t n = strcspn(line, "{ ");

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		size_t k = strlen(ends[i]);
		if (n > k && memcmp(line + n - k, ends[i], k) == 0)
			return n - k;
	}
	return n;
}

/* What is gone has no state, no connections and no limits. */
START_TEST(the_past_has_no_gauges)
{
	prom_print(&st, &out);
	for (char *line = out.p, *next; *line != '\0'; line = next) {
		next = line + strcspn(line, "\n") + 1;
		if (line[0] != '#' &&
		    (memmem(line, (size_t)(next - line), "\"former\"", 8) != NULL ||
		     memmem(line, (size_t)(next - line), "\"left\"", 6) != NULL))
			ck_assert_msg(memmem(line, strcspn(line, "{"), "_total", 6) != NULL, "%s",
				      line);
	}
}
END_TEST

/* HELP, TYPE, samples: a family's lines stand together and it comes once. */
START_TEST(families_are_whole)
{
	char seen[64][64];
	size_t n_seen = 0, n_samples = 0;
	char *save = NULL;

	prom_print(&st, &out);
	ck_assert_int_eq(out.p[out.n - 1], '\n');
	for (char *line = strtok_r(out.p, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "# HELP ", 7) == 0) {
			size_t n = strcspn(line + 7, " ");
			ck_assert(n < 64 && n_seen < 64);
			snprintf(seen[n_seen], 64, "%.*s", (int)n, line + 7);
			for (size_t i = 0; i < n_seen; i++)
				ck_assert_str_ne(seen[i], seen[n_seen]);
			n_seen++;
			line = strtok_r(NULL, "\n", &save);
			ck_assert(strncmp(line, "# TYPE ", 7) == 0);
			ck_assert(strncmp(line + 7, seen[n_seen - 1], n) == 0);
			continue;
		}
		ck_assert(n_seen > 0);
		ck_assert_uint_eq(family_len(line), strlen(seen[n_seen - 1]));
		ck_assert(strncmp(line, seen[n_seen - 1], family_len(line)) == 0);
		n_samples++;
	}
	ck_assert_uint_eq(n_seen, 47);
	ck_assert_uint_gt(n_samples, 50);
}
END_TEST

START_TEST(no_sample_comes_twice)
{
	prom_print(&st, &out);
	for (char *line = out.p, *next; *line != '\0'; line = next) {
		char key[160];

		next = line + strcspn(line, "\n") + 1;
		int n = (int)strcspn(line, "}\n");
		snprintf(key, sizeof(key), "\n%.*s", n, line);
		if (line[0] != '#' && strchr(key, '{') != NULL)
			ck_assert_msg(strstr(next - 1, key) == NULL, "twice: %s", key + 1);
	}
}
END_TEST

START_TEST(labels_are_escaped)
{
	st.pools[1].backends[0].name = "a\"b\\c\nd";
	prom_print(&st, &out);
	ck_assert(has_line("lb_backend_up{pool=\"web\",backend=\"a\\\"b\\\\c\\nd\"} 1"));
}
END_TEST

START_TEST(there_may_be_nothing)
{
	struct status none = { .version = "", .engine = "" };

	prom_print(&none, &out);
	ck_assert(!out.failed);
	ck_assert(has_line("lb_connections_active 0"));
	ck_assert(has_line("# TYPE lb_backend_up gauge"));
	ck_assert_ptr_null(strstr(out.p, "\nlb_backend_up"));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, figures_are_there, 0, ARRAY_SIZE(lines));
	tcase_add_test(t, a_pool_has_no_zeros);
	tcase_add_test(t, the_past_has_no_gauges);
	tcase_add_test(t, families_are_whole);
	tcase_add_test(t, no_sample_comes_twice);
	tcase_add_test(t, labels_are_escaped);
	tcase_add_test(t, there_may_be_nothing);
}

int main(void)
{
	return run_suite("admin/prom", add_tests);
}
