/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../suite.h"
#include "daemon/log_file.h"
#include "daemon/logger.h"

#define TIME "2026-11-24T10:00:00.123Z"
#define TIME_NS (1795514400123ull * 1000000)
#define TIME_LEN 24
#define PATH_LEN 96

static char dir[] = "/tmp/test_logger.XXXXXX";
static char log_path[PATH_LEN], access_path[PATH_LEN];
static struct logger *logger;
static int n_fds_before;

/* ---- what the tests share -------------------------------------------------------------------- */

static void setup(void)
{
	n_fds_before = n_fds();
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(log_path, sizeof(log_path), "%s/log", dir);
	snprintf(access_path, sizeof(access_path), "%s/access", dir);
}

static void teardown(void)
{
	char path[PATH_LEN];
	DIR *d = opendir(dir);

	logger = logger_stop(logger);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/%.32s", dir, e->d_name);
			unlink(path);
		}
	closedir(d);
	ck_assert_int_eq(rmdir(dir), 0);
	ck_assert_int_eq(n_fds(), n_fds_before);
}

static struct conf_log to(char *path, enum conf_log_format format, enum log_level level)
{
	return (struct conf_log){ .is_on = true, .level = level, .format = format, .to = path };
}

/* `access` NULL: none. */
/* Opens the files; no thread runs yet. */
static void open_files(struct conf_log log, const struct conf_log *access, uint32_t n)
{
	static const struct conf_log none;
	struct err e = ERR_INIT;

	ck_assert_int_eq(logger_open(&log, access != NULL ? access : &none, n, &e, &logger), 0);
	ck_assert_uint_eq(err_n_lines(&e), 0);
	err_deinit(&e);
}

static void open_logger(struct conf_log log, const struct conf_log *access, uint32_t n)
{
	open_files(log, access, n);
	ck_assert_int_eq(logger_start(logger), 0);
}

static const char *slurp(const char *path)
{
	static char text[4u << 20];
	FILE *f = fopen(path, "re");
	size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f != NULL)
		fclose(f);
	text[n] = '\0';
	return text;
}

/* The thread writes when it likes: until the file holds this, for five seconds at most. */
static const char *wait_for(const char *path, const char *text)
{
	for (int i = 0; i < 1000 && strstr(slurp(path), text) == NULL; i++)
		usleep(5000);
	const char *all = slurp(path);
	ck_assert_msg(strstr(all, text) != NULL, "\"%s\" is not in: %s", text, all);
	return all;
}

/* Ends the logger; then all is written. */
static const char *all_of(const char *path)
{
	logger = logger_stop(logger);
	return slurp(path);
}

/* Checks that a time of the last minute stands there, and overwrites it with TIME. */
static void fix_time(char *at)
{
	struct tm tm = { 0 };
	const char *rest = strptime(at, "%Y-%m-%dT%H:%M:%S", &tm);

	ck_assert_ptr_eq(rest, at + 19);
	ck_assert_int_eq(strspn(rest + 1, "0123456789"), 3);
	ck_assert(rest[0] == '.' && rest[4] == 'Z');
	time_t age = time(NULL) - timegm(&tm);
	ck_assert(age >= 0 && age < 60);
	memcpy(at, TIME, TIME_LEN);
}

/* The text with all its times made the same: at the start of lines, or behind {"time":". */
static const char *timeless(const char *text)
{
	static char out[64u << 10];

	ck_assert_uint_lt(strlen(text), sizeof(out));
	strcpy(out, text);
	for (char *p = out; *p != '\0'; p = strchr(p, '\n') + 1) {
		fix_time(p[0] == '{' ? p + 9 : p);
		ck_assert_ptr_nonnull(strchr(p, '\n')); /* each line is whole */
	}
	return out;
}

static const struct access_record full_record = {
	.wall_ns = TIME_NS,
	.id = 7,
	.client = { .family = AF_INET, .port = 40001, .v4 = { 192, 0, 2, 9 } },
	.listener = "public",
	.route = "1",
	.pool = "chat",
	.backend = "b2",
	.status = 101,
	.bytes_in = 5000000000,
	.bytes_out = 12,
	.duration_ns = 61234567890,
	.handshake_ms = 3,
	.end = SESS_END_CLIENT_CLOSED,
	.ws_close = 1001,
};
#define FULL_FIELDS \
	"\"client\":\"192.0.2.9:40001\",\"listener\":\"public\"," \
	"\"route\":\"1\",\"pool\":\"chat\",\"backend\":\"b2\",\"status\":101," \
	"\"bytes_in\":5000000000,\"bytes_out\":12,\"duration_ms\":61234,\"handshake_ms\":3," \
	"\"end\":\"client_closed\",\"id\":7,\"ws_close\":1001,\"error\":\"\"}\n"
#define FULL_JSON "{\"time\":\"" TIME "\"," FULL_FIELDS
#define FULL_TEXT \
	"client=192.0.2.9:40001 listener=public route=1 pool=chat backend=b2 status=101 " \
	"bytes_in=5000000000 bytes_out=12 duration_ms=61234 handshake_ms=3 end=client_closed " \
	"id=7 " \
	"ws_close=1001 error=\"\"\n"

static const struct access_record bare_record = {
	.wall_ns = TIME_NS,
	.client = { .family = AF_INET6, .port = 1, .v6 = { [15] = 1 } },
	.listener = "public",
	.status = 404,
	.end = SESS_END_NO_ROUTE,
	.error = "no route matched",
};
#define BARE_JSON \
	"{\"time\":\"" TIME "\",\"client\":\"[::1]:1\",\"listener\":\"public\",\"route\":\"\"," \
	"\"pool\":\"\",\"backend\":\"\",\"status\":404,\"bytes_in\":0,\"bytes_out\":0," \
	"\"duration_ms\":0,\"handshake_ms\":0,\"end\":\"no_route\",\"id\":0," \
	"\"ws_close\":0,\"error\":\"no route matched\"}\n"
#define BARE_TEXT \
	"client=[::1]:1 listener=public route=- pool=- backend=- status=404 bytes_in=0 " \
	"bytes_out=0 duration_ms=0 handshake_ms=0 end=no_route id=0 ws_close=0 " \
	"error=\"no route matched\"\n"

static void access_of(uint32_t producer, const struct access_record *r)
{
	logger_access_fn(logger)(logger_access_arg(logger, producer), r);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum log_level level;
	const char *line;
	const char *text, *json;
} lines[] = {
	{ "plain", LOG_LEVEL_NOTICE, "lb is ready workers=2",
	  TIME " notice lb is ready workers=2\n",
	  "{\"time\":\"" TIME "\",\"level\":\"notice\",\"msg\":\"lb is ready\",\"workers\":2}\n" },
	{ "with quotes", LOG_LEVEL_WARN, "backend is down result=\"closed\"",
	  TIME " warn backend is down result=\"closed\"\n",
	  "{\"time\":\"" TIME "\",\"level\":\"warn\","
	  "\"msg\":\"backend is down\",\"result\":\"closed\"}\n" },
	{ "with an end of line in it", LOG_LEVEL_ERR, "bad key=a\nb", TIME " err bad key=a b\n",
	  "{\"time\":\"" TIME "\",\"level\":\"err\",\"msg\":\"bad\",\"key\":\"a\\nb\"}\n" },
	{ "above the level", LOG_LEVEL_INFO, "not worth it", "", "" },
};

START_TEST(lines_are_written_as_text)
{
	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), NULL, 1);
	struct log l = logger_handle(logger, 0);
	log_write(&l, lines[_i].level, "%s", lines[_i].line);
	ck_assert_msg(strcmp(timeless(all_of(log_path)), lines[_i].text) == 0, "%s",
		      lines[_i].name);
}
END_TEST

START_TEST(lines_are_written_as_json)
{
	open_logger(to(log_path, CONF_LOG_JSON, LOG_LEVEL_NOTICE), NULL, 1);
	struct log l = logger_handle(logger, 0);
	log_write(&l, lines[_i].level, "%s", lines[_i].line);
	ck_assert_msg(strcmp(timeless(all_of(log_path)), lines[_i].json) == 0, "%s",
		      lines[_i].name);
}
END_TEST

/* Until there is a thread they go to stderr at once, for the start can still fail. */
START_TEST(lines_before_the_start_go_to_stderr)
{
	struct conf_log log = to(log_path, CONF_LOG_JSON, LOG_LEVEL_NOTICE), none = { 0 };
	struct err e = ERR_INIT;
	char text[128] = "";
	int saved = dup(2), fds[2];

	ck_assert_int_eq(logger_open(&log, &none, 1, &e, &logger), 0);
	struct log l = logger_handle(logger, 0);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	dup2(fds[1], 2);
	log_warn(&l, "too early n=%d", 1);
	log_info(&l, "not wanted");
	dup2(saved, 2);
	(void)!read(fds[0], text, sizeof(text) - 1);
	ck_assert_str_eq(text, "lb: warn: too early n=1\n");
	ck_assert_str_eq(all_of(log_path), "");
	close(saved);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(a_level_changes_at_once)
{
	struct conf_log log = to(log_path, CONF_LOG_TEXT, LOG_LEVEL_ERR), none = { 0 };

	open_logger(log, NULL, 1);
	struct log l = logger_handle(logger, 0);
	log_warn(&l, "one");
	log.level = LOG_LEVEL_DEBUG;
	logger_reconfigure(logger, &log, &none);
	log_debug(&l, "two");
	log.level = LOG_LEVEL_ERR;
	logger_reconfigure(logger, &log, &none);
	log_warn(&l, "three");
	ck_assert_str_eq(timeless(all_of(log_path)), TIME " debug two\n");
}
END_TEST

/* A line that a longer one of the same start follows is no repetition of it. */
START_TEST(repetitions_are_counted)
{
	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), NULL, 2);
	struct log a = logger_handle(logger, 0), b = logger_handle(logger, 1);

	for (int i = 0; i < 5; i++)
		log_warn(&a, "accept failed");
	log_warn(&a, "accept failed again");
	log_warn(&b, "accept failed again"); /* another one's */
	const char *all = timeless(all_of(log_path));
	ck_assert_ptr_nonnull(strstr(all, TIME " warn accept failed\n" TIME
					       " warn last line repeated times=4\n" TIME
					       " warn accept failed again\n"));
	ck_assert_uint_eq(strlen(all), 4 * TIME_LEN + strlen(" warn accept failed\n") +
					       strlen(" warn last line repeated times=4\n") +
					       2 * strlen(" warn accept failed again\n"));
}
END_TEST

/* Nobody need write something else for the count to be seen. */
START_TEST(a_count_is_told_in_time)
{
	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), NULL, 1);
	struct log l = logger_handle(logger, 0);

	for (int i = 0; i < 3; i++)
		log_warn(&l, "accept failed");
	ck_assert_str_eq(timeless(wait_for(log_path, "times=")),
			 TIME " warn accept failed\n" TIME " warn last line repeated times=2\n");
}
END_TEST

static void *write_many(void *arg)
{
	struct log *l = arg;

	for (int i = 0; i < 1000; i++)
		log_notice(l, "line of=%p i=%d", arg, i);
	return NULL;
}

/* All that was written before the end is in the file, each thread's in its order. */
START_TEST(an_end_loses_nothing)
{
	struct log l[3];
	pthread_t thread[3];
	int next[3] = { 0 }, n_lines = 0;

	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), NULL, 3);
	for (uint32_t i = 0; i < 3; i++) {
		l[i] = logger_handle(logger, i);
		ck_assert_int_eq(pthread_create(&thread[i], NULL, write_many, &l[i]), 0);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(logger_n_dropped(logger), 0);
	for (const char *p = all_of(log_path); *p != '\0'; p = strchr(p, '\n') + 1, n_lines++) {
		void *of;
		int i;
		ck_assert_int_eq(sscanf(p + TIME_LEN, " notice line of=%p i=%d\n", &of, &i), 2);
		ck_assert_int_eq(i, next[(struct log *)of - l]++);
	}
	ck_assert_int_eq(n_lines, 3000);
}
END_TEST

/* ---- access records -------------------------------------------------------------------------- */

START_TEST(access_is_written_as_json)
{
	struct conf_log access = to(access_path, CONF_LOG_JSON, 0);

	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), &access, 2);
	access_of(1, &full_record);
	access_of(1, &bare_record);
	ck_assert_str_eq(all_of(access_path), FULL_JSON BARE_JSON);
	ck_assert_str_eq(slurp(log_path), "");
}
END_TEST

START_TEST(access_is_written_as_text)
{
	struct conf_log access = to(access_path, CONF_LOG_TEXT, 0);

	open_logger(to(log_path, CONF_LOG_JSON, LOG_LEVEL_NOTICE), &access, 2);
	access_of(1, &full_record);
	access_of(1, &bare_record);
	ck_assert_str_eq(all_of(access_path), TIME " " FULL_TEXT TIME " " BARE_TEXT);
	ck_assert_str_eq(slurp(log_path), "");
}
END_TEST

/* At info the log itself has a line for each, with or without an access log. */
START_TEST(ends_are_logged_at_info)
{
	struct conf_log access = to(access_path, CONF_LOG_JSON, 0);

	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_INFO), _i != 0 ? &access : NULL, 2);
	access_of(1, &full_record);
	access_of(1, &bare_record);
	ck_assert_str_eq(all_of(log_path), TIME " info connection ended " FULL_TEXT TIME
						" info connection ended " BARE_TEXT);
	ck_assert_str_eq(slurp(access_path), _i != 0 ? FULL_JSON BARE_JSON : "");
}
END_TEST

START_TEST(an_access_log_comes_and_goes)
{
	struct conf_log log = to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), none = { 0 };
	struct conf_log access = to(access_path, CONF_LOG_JSON, 0);

	open_logger(log, NULL, 2);
	access_of(1, &bare_record);
	logger_reconfigure(logger, &log, &access);
	access_of(1, &full_record);
	wait_for(access_path, FULL_JSON);
	logger_reconfigure(logger, &log, &none);
	access_of(1, &bare_record);
	ck_assert_str_eq(all_of(access_path), FULL_JSON);
	ck_assert_str_eq(slurp(log_path), "");
}
END_TEST

/* ---- files ----------------------------------------------------------------------------------- */

START_TEST(files_are_appended_to)
{
	struct stat st;
	FILE *f = fopen(access_path, "we");
	struct conf_log access = to(access_path, CONF_LOG_JSON, 0);

	fputs("from before\n", f);
	fclose(f);
	umask(0);
	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), &access, 1);
	access_of(0, &bare_record);
	ck_assert_str_eq(all_of(access_path), "from before\n" BARE_JSON);
	ck_assert_int_eq(stat(log_path, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
}
END_TEST

START_TEST(a_log_that_cannot_be_opened_is_told)
{
	static char missing[] = "/nonexistent/log";
	struct conf_log good = to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE);
	struct conf_log bad = to(missing, CONF_LOG_TEXT, LOG_LEVEL_NOTICE);
	struct err e = ERR_INIT;
	char scratch[64];

	ck_assert_int_eq(
		logger_open(_i != 0 ? &bad : &good, _i != 0 ? &good : &bad, 1, &e, &logger),
		-ENOENT);
	ck_assert_ptr_null(logger);
	ck_assert_uint_eq(err_n_lines(&e), 1);
	ck_assert_str_eq(err_line(&e, 0, scratch, sizeof(scratch)),
			 "cannot open log /nonexistent/log: No such file or directory; \"mkdir -p "
			 "/nonexistent\" makes its folder, or name another file");
	err_deinit(&e);
}
END_TEST

/* As logrotate does it: what comes after the rename and the signal is in a new file. */
START_TEST(a_renamed_log_is_opened_again)
{
	struct conf_log access = to(access_path, CONF_LOG_JSON, 0);
	char old_log[PATH_LEN + 2], old_access[PATH_LEN + 2];

	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), &access, 1);
	struct log l = logger_handle(logger, 0);
	log_notice(&l, "one");
	access_of(0, &full_record);
	wait_for(access_path, FULL_JSON);
	snprintf(old_log, sizeof(old_log), "%s.1", log_path);
	snprintf(old_access, sizeof(old_access), "%s.1", access_path);
	ck_assert_int_eq(rename(log_path, old_log), 0);
	ck_assert_int_eq(rename(access_path, old_access), 0);
	log_notice(&l, "two"); /* still to the old one */
	wait_for(old_log, "two");
	logger_reopen(logger);
	log_notice(&l, "three");
	access_of(0, &bare_record);
	ck_assert_str_eq(timeless(all_of(log_path)), TIME " notice three\n");
	ck_assert_str_eq(timeless(slurp(old_log)), TIME " notice one\n" TIME " notice two\n");
	ck_assert_str_eq(slurp(access_path), BARE_JSON);
	ck_assert_str_eq(slurp(old_access), FULL_JSON);
}
END_TEST

START_TEST(a_reload_moves_the_log)
{
	struct conf_log log = to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), none = { 0 };

	open_logger(log, NULL, 1);
	struct log l = logger_handle(logger, 0);
	log_notice(&l, "one");
	wait_for(log_path, "one");
	log = to(access_path, CONF_LOG_JSON, LOG_LEVEL_NOTICE);
	logger_reconfigure(logger, &log, &none);
	log_notice(&l, "two");
	ck_assert_str_eq(timeless(all_of(access_path)),
			 "{\"time\":\"" TIME "\",\"level\":\"notice\",\"msg\":\"two\"}\n");
	ck_assert_str_eq(timeless(slurp(log_path)), TIME " notice one\n");
}
END_TEST

/* The old file stays in use, and has the reason. */
START_TEST(a_log_that_cannot_be_opened_again_stays)
{
	static char missing[] = "/nonexistent/log";
	struct conf_log log = to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), none = { 0 };

	open_logger(log, NULL, 1);
	struct log l = logger_handle(logger, 0);
	log.to = missing;
	logger_reconfigure(logger, &log, &none);
	wait_for(log_path, "cannot open log");
	log_notice(&l, "one");
	ck_assert_str_eq(timeless(all_of(log_path)),
			 TIME " err cannot open log, keeping the old one path=/nonexistent/log "
			      "error=\"No such file or directory\"\n" TIME " notice one\n");
}
END_TEST

START_TEST(files_are_given_to_a_user)
{
	struct conf_log access = to(access_path, CONF_LOG_JSON, 0);
	const struct passwd *pw = getpwnam("nobody");
	struct stat st;

	ck_assert_ptr_nonnull(pw);
	open_files(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), &access, 1);
	logger_chown(logger, pw->pw_uid, pw->pw_gid);
	ck_assert_int_eq(stat(log_path, &st), 0);
	ck_assert(st.st_uid == pw->pw_uid && st.st_gid == pw->pw_gid);
	ck_assert_int_eq(stat(access_path, &st), 0);
	ck_assert(st.st_uid == pw->pw_uid && st.st_gid == pw->pw_gid);
}
END_TEST

/* ---- bad luck -------------------------------------------------------------------------------- */

/* A fifo in place of a file; its reading end. */
static int fifo_at(const char *path)
{
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* Reads a fifo until this has come, for five seconds at most; all that has come so far. */
static const char *read_until(int fd, const char *text)
{
	static char got[8u << 20];
	static size_t n;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	for (int i = 0; i < 5000 && strstr(got, text) == NULL; i++) {
		(void)poll(&pfd, 1, 10);
		ssize_t r;
		while ((r = read(fd, got + n, sizeof(got) - 1 - n)) > 0)
			n += (size_t)r;
		got[n] = '\0';
	}
	return got;
}

/* Nothing waits for a fifo's reader; who comes later reads on from there. */
START_TEST(a_fifo_needs_no_reader_yet)
{
	struct conf_log access = to(access_path, CONF_LOG_JSON, 0);

	ck_assert_int_eq(mkfifo(log_path, 0600), 0);
	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), &access, 1);
	struct log l = logger_handle(logger, 0);
	log_notice(&l, "early");
	logger_reopen(logger);
	access_of(0, &full_record); /* is written after the line */
	wait_for(access_path, FULL_JSON);
	int fd = open(log_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	log_notice(&l, "later");
	const char *all = read_until(fd, "log bytes lost");
	ck_assert_ptr_nonnull(strstr(all, " notice later\n"));
	ck_assert_ptr_null(strstr(all, "early"));
	logger = logger_stop(logger);
	close(fd);
}
END_TEST

/* ---- before a reload ------------------------------------------------------------------------- */

static char missing_path[] = "/nonexistent/log", folder_path[] = "/", null_path[] = "/dev/null",
	    stderr_word[] = "stderr", proc_path[] = "/proc/x";

static const struct {
	const char *name;
	char *log, *access; /* access NULL: off */
	size_t n;
	const char *text; /* of the first reason */
} checks[] = {
	{ "both can be opened", null_path, stderr_word, 0, NULL },
	{ "no access log", null_path, NULL, 0, NULL },
	{ "no such folder", missing_path, null_path, 1,
	  "lb.yaml:3:7: cannot open log /nonexistent/log: No such file or directory; \"mkdir -p "
	  "/nonexistent\" makes its folder, or name another file" },
	{ "a folder", null_path, folder_path, 1,
	  "lb.yaml:4:9: cannot open log /: Is a directory; name a file in it" },
	{ "no file can be made there", proc_path, null_path, 1,
	  "lb.yaml:3:7: cannot open log /proc/x: no file can be made in /proc; name a file in "
	  "another folder, or stderr" },
	{ "both cannot", missing_path, folder_path, 2,
	  "lb.yaml:3:7: cannot open log /nonexistent/log: No such file or directory; \"mkdir -p "
	  "/nonexistent\" makes its folder, or name another file" },
};

START_TEST(destinations_are_checked)
{
	struct conf_log log = to(checks[_i].log, CONF_LOG_TEXT, LOG_LEVEL_NOTICE);
	struct conf_log access = { 0 };
	struct err e = ERR_INIT;
	char scratch[64];

	log.at = (struct mark){ .file = "lb.yaml", .line = 3, .col = 7 };
	if (checks[_i].access != NULL)
		access = to(checks[_i].access, CONF_LOG_JSON, 0);
	access.at = (struct mark){ .file = "lb.yaml", .line = 4, .col = 9 };
	ck_assert_msg(logger_check(&log, &access, &e) == (checks[_i].n > 0 ? -EINVAL : 0), "%s",
		      checks[_i].name);
	ck_assert_uint_eq(e.n, checks[_i].n);
	if (checks[_i].n > 0)
		ck_assert_str_eq(err_line(&e, 0, scratch, sizeof(scratch)), checks[_i].text);
	err_deinit(&e);
}
END_TEST

/* A trial says what a check says, and leaves nothing behind. */
START_TEST(a_trial_makes_no_file)
{
	struct conf_log log = to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE);
	struct err tried = ERR_INIT, checked = ERR_INIT;
	struct conf_log none = { 0 };
	char scratch[64];

	(void)unlink(log_path);
	ck_assert_int_eq(log_file_try(&log, &tried), 0);
	ck_assert_int_ne(access(log_path, F_OK), 0);
	ck_assert_int_eq(log_file_try(&none, &tried), 0);
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		log = to(checks[i].log, CONF_LOG_TEXT, LOG_LEVEL_NOTICE);
		int want = logger_check(&log, &none, &checked);
		ck_assert_msg(log_file_try(&log, &tried) == want, "%s", checks[i].name);
		ck_assert_uint_eq(tried.n, checked.n);
		if (checked.n > 0)
			ck_assert_str_eq(err_line(&tried, 0, scratch, sizeof(scratch)),
					 err_line(&checked, 0, scratch, sizeof(scratch)));
		err_deinit(&tried);
		err_deinit(&checked);
	}
}
END_TEST

/* A check opens no fifo: who reads it would see an end that is none. */
START_TEST(a_checked_fifo_sees_no_end)
{
	struct conf_log log = to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), none = { 0 };
	struct err e = ERR_INIT;
	char byte;

	ck_assert_int_eq(mkfifo(log_path, 0600), 0);
	ck_assert_int_eq(logger_check(&log, &none, &e), 0); /* nobody reads yet */
	int fd = open(log_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	ck_assert_int_eq(logger_check(&log, &none, &e), 0);
	ck_assert_int_eq(poll(&pfd, 1, 0), 0); /* POLLHUP once a writer has come and gone */
	ck_assert_int_eq(read(fd, &byte, 1), 0);
	close(fd);
}
END_TEST

/* The log's reader sleeps: producers never wait, what is dropped is counted and told. */
START_TEST(a_full_ring_drops_and_tells)
{
	const int n_written = 40000;
	int fd = fifo_at(log_path), last = -1, n_read = 0, i;
	unsigned long long n_told = 0, n;

	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), NULL, 1);
	struct log l = logger_handle(logger, 0);
	for (int k = 0; k < n_written; k++)
		log_notice(&l, "line i=%d %0100d", k, 0);
	uint64_t n_dropped = logger_n_dropped(logger);
	ck_assert_uint_gt(n_dropped, 0);
	(void)read_until(fd, "log lines dropped"); /* now there is room again */
	log_notice(&l, "awake again");
	const char *all = read_until(fd, "awake again");
	ck_assert_ptr_nonnull(strstr(all, "awake again"));
	for (const char *p = all; *p != '\0' && strchr(p, '\n') != NULL; p = strchr(p, '\n') + 1) {
		if (sscanf(p + TIME_LEN, " notice line i=%d ", &i) == 1) {
			ck_assert_int_gt(i, last);
			last = i;
			n_read++;
		} else if (sscanf(p + TIME_LEN, " warn log lines dropped n=%llu", &n) == 1) {
			n_told += n;
		}
	}
	ck_assert_uint_eq(n_told, n_dropped);
	ck_assert_uint_eq((uint64_t)n_read + n_dropped, (uint64_t)n_written);
	close(fd);
}
END_TEST

START_TEST(a_stuck_reader_delays_no_end)
{
	int fd = fifo_at(log_path);

	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), NULL, 1);
	struct log l = logger_handle(logger, 0);
	for (int k = 0; k < 40000; k++)
		log_notice(&l, "line i=%d %0100d", k, 0);
	time_t before = time(NULL);
	logger = logger_stop(logger);
	ck_assert_int_le(time(NULL) - before, 5);
	close(fd);
}
END_TEST

/* A reader that went away raises no signal; the next log takes over and says what is missing. */
START_TEST(lost_bytes_are_counted)
{
	static char dev_full[] = "/dev/full";
	struct conf_log none = { 0 }, access = to(access_path, CONF_LOG_JSON, 0);
	struct conf_log log = to(_i != 0 ? dev_full : log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE);
	char want[256];

	if (_i == 0) { /* EPIPE; else ENOSPC */
		int fd = fifo_at(log_path);
		open_logger(log, &access, 1);
		close(fd);
	} else {
		open_logger(log, &access, 1);
	}
	struct log l = logger_handle(logger, 0);
	log_notice(&l, "lost");
	access_of(0, &full_record); /* is written after the line */
	wait_for(access_path, FULL_JSON);
	unlink(log_path);
	log.to = log_path;
	if (_i == 0)
		logger_reopen(logger);
	else
		logger_reconfigure(logger, &log, &none);
	log_notice(&l, "found");
	wait_for(log_path, "log bytes lost");
	const char *all = timeless(all_of(log_path));
	snprintf(want, sizeof(want), TIME " warn log bytes lost path=%s n=%zu\n", log_path,
		 TIME_LEN + strlen(" notice lost\n"));
	ck_assert_ptr_nonnull(strstr(all, want));
	ck_assert_ptr_nonnull(strstr(all, TIME " notice found\n"));
	ck_assert_ptr_null(strstr(all, " notice lost\n"));
}
END_TEST

/* A disk that is full in the middle of a line: the next line begins on its own. */
START_TEST(a_torn_line_stays_alone)
{
	int fd = fifo_at(access_path);
	struct conf_log access = to(access_path, CONF_LOG_JSON, 0);
	struct rlimit old, low;
	char want[512];

	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), &access, 1);
	struct log l = logger_handle(logger, 0);
	getrlimit(RLIMIT_FSIZE, &old);
	low = old;
	low.rlim_cur = TIME_LEN + strlen(" notice abc");
	setrlimit(RLIMIT_FSIZE, &low);
	/* No assertion until the limit is gone: libcheck writes files, too. */
	log_notice(&l, "abcdefgh");
	access_of(0, &full_record);
	(void)read_until(fd, FULL_JSON);
	setrlimit(RLIMIT_FSIZE, &old);
	log_notice(&l, "whole");
	char *all = strdup(all_of(log_path));
	char *second = strchr(all, '\n');
	ck_assert_ptr_nonnull(second);
	*second++ = '\0';
	ck_assert_str_eq(all + TIME_LEN, " notice abc");
	snprintf(want, sizeof(want),
		 TIME " notice whole\n" TIME " warn log bytes lost path=%s n=%zu\n", log_path,
		 strlen("defgh\n"));
	ck_assert_str_eq(timeless(second), want);
	free(all);
	close(fd);
}
END_TEST

/* Signals are main's: none may be taken by this thread. */
START_TEST(the_thread_takes_no_signal)
{
	char path[PATH_LEN], line[128];
	unsigned long long blocked = 0;

	open_logger(to(log_path, CONF_LOG_TEXT, LOG_LEVEL_NOTICE), NULL, 1);
	DIR *d = opendir("/proc/self/task");
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		snprintf(path, sizeof(path), "/proc/self/task/%.20s/status", e->d_name);
		FILE *f = fopen(path, "re");
		if (f == NULL || atoi(e->d_name) == getpid()) {
			if (f != NULL)
				fclose(f);
			continue;
		}
		while (fgets(line, sizeof(line), f) != NULL)
			(void)sscanf(line, "SigBlk: %llx", &blocked);
		fclose(f);
	}
	closedir(d);
	for (int sig = 1; sig < 32; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			ck_assert_msg(blocked >> (sig - 1) & 1, "signal %d", sig);
	sigset_t mine;
	sigprocmask(SIG_SETMASK, NULL, &mine);
	ck_assert_int_eq(sigismember(&mine, SIGTERM), 0);
}
END_TEST

static void add_tests(TCase *t)
{
	const int n_lines = sizeof(lines) / sizeof(lines[0]);

	tcase_set_timeout(t, 20);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, lines_are_written_as_text, 0, n_lines);
	tcase_add_loop_test(t, lines_are_written_as_json, 0, n_lines);
	tcase_add_test(t, lines_before_the_start_go_to_stderr);
	tcase_add_test(t, a_level_changes_at_once);
	tcase_add_test(t, repetitions_are_counted);
	tcase_add_test(t, a_count_is_told_in_time);
	tcase_add_test(t, an_end_loses_nothing);
	tcase_add_test(t, access_is_written_as_json);
	tcase_add_test(t, access_is_written_as_text);
	tcase_add_loop_test(t, ends_are_logged_at_info, 0, 2);
	tcase_add_test(t, an_access_log_comes_and_goes);
	tcase_add_test(t, files_are_appended_to);
	tcase_add_loop_test(t, a_log_that_cannot_be_opened_is_told, 0, 2);
	tcase_add_test(t, a_renamed_log_is_opened_again);
	tcase_add_test(t, a_reload_moves_the_log);
	tcase_add_test(t, a_log_that_cannot_be_opened_again_stays);
	if (getuid() == 0)
		tcase_add_test(t, files_are_given_to_a_user);
	tcase_add_test(t, a_fifo_needs_no_reader_yet);
	tcase_add_loop_test(t, destinations_are_checked, 0, ARRAY_SIZE(checks));
	tcase_add_test(t, a_checked_fifo_sees_no_end);
	tcase_add_test(t, a_trial_makes_no_file);
	tcase_add_test(t, a_full_ring_drops_and_tells);
	tcase_add_test(t, a_stuck_reader_delays_no_end);
	tcase_add_loop_test(t, lost_bytes_are_counted, 0, 2);
	tcase_add_test(t, a_torn_line_stays_alone);
	tcase_add_test(t, the_thread_takes_no_signal);
}

int main(void)
{
	return run_suite("daemon/logger", add_tests);
}
