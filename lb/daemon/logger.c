/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   main, workers --ring each--> log thread --write(2)--> log, access log
 *
 * A record is a tag with either a line or a flat access record and its strings. The thread is woken
 * by an eventfd at the idle->busy edge; it drains all rings into one text per file, then writes.
 *
 * Thread: as the header says; settings are handed over under a lock that only main and the log
 * thread take.
 */
#include "daemon/logger.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log_fields.h"
#include "daemon/privs.h"
#include "daemon/refusal.h"
#include "util/json.h"
#include "util/ring.h"
#include "util/text.h"

#define RING_BYTES (256u << 10)
#define FLUSH_BYTES (256u << 10) /* a batch is written when it is this large */
#define WAIT_MS 1000             /* for a reader, before looking whether to stop */
#define REPEAT_NS 1000000000u    /* equal lines within a second are counted, not written */
#define FIELD_MAX 64

enum record_kind { RECORD_LINE, RECORD_ACCESS };

struct line_record {
	uint32_t kind;
	enum log_level level;
	uint64_t wall_ns;
	char text[LOG_LINE_MAX];
};

/* An access record without pointers. */
struct access_flat {
	uint32_t kind;
	struct access_record r; /* its strings are not to be used, but `error`, a constant */
	char listener[FIELD_MAX], route[FIELD_MAX], pool[FIELD_MAX], backend[FIELD_MAX];
};

struct producer {
	struct logger *logger; /* borrows */
	struct ring *ring;     /* owns */
	/* the thread's: the last line, to merge its repetitions */
	char last[LOG_LINE_MAX];
	enum log_level last_level;
	uint64_t last_ns, n_repeated, n_dropped_said;
};

/* One destination. */
struct sink {
	char *to;     /* owns: as in struct conf_log */
	int fd;       /* -1: none, or it could not be opened */
	bool is_file; /* a regular file: writing waits for no reader */
	bool is_torn; /* the last thing written was not a whole line */
	bool is_well; /* the last batch was written */
	enum conf_log_format format;
	struct text batch;
	uint64_t n_lost, n_lost_said; /* bytes that could not be written */
};

struct logger {
	struct producer *producer; /* owns */
	uint32_t n_producers;
	int wake_fd;
	atomic_bool is_woken;
	atomic_int level;       /* enum log_level: lines above are dropped by the sinks */
	atomic_bool has_access; /* there is an access log */
	pthread_t thread;
	atomic_bool is_running, should_stop;
	struct sink log, access; /* the thread's while it runs */

	pthread_mutex_t lock; /* guards what follows */
	bool should_reopen;
	char *new_log, *new_access; /* own: new destinations */
	enum conf_log_format log_format, access_format;
};

/* ---- producers ------------------------------------------------------------------------------- */

static uint64_t wall_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void wake(struct logger *l)
{
	uint64_t one = 1;

	if (atomic_exchange_explicit(&l->is_woken, true, memory_order_acq_rel))
		return;
	(void)!write(l->wake_fd, &one, sizeof(one));
}

static void direct(enum log_level level, const char *line, size_t n)
{
	(void)fprintf(stderr, "lb: %s: %.*s\n", log_level_name(level), (int)n, line);
}

static void sink_line(void *arg, enum log_level level, const char *line, size_t n)
{
	struct producer *p = arg;
	struct logger *l = p->logger;

	if ((int)level > atomic_load_explicit(&l->level, memory_order_relaxed))
		return;
	if (!atomic_load_explicit(&l->is_running, memory_order_acquire)) {
		direct(level, line, n);
		return;
	}
	struct line_record r = { .kind = RECORD_LINE, .level = level, .wall_ns = wall_ns() };
	memcpy(r.text, line, n);
	(void)ring_write(p->ring, &r, offsetof(struct line_record, text) + n);
	wake(l);
}

static void copy_field(char out[FIELD_MAX], const char *text)
{
	size_t n = text != NULL ? strnlen(text, FIELD_MAX - 1) : 0;

	if (n > 0)
		memcpy(out, text, n);
	out[n] = '\0';
}

static void take_access(void *arg, const struct access_record *r)
{
	struct producer *p = arg;
	struct logger *l = p->logger;
	struct access_flat flat = { .kind = RECORD_ACCESS };

	if (!atomic_load_explicit(&l->has_access, memory_order_relaxed) &&
	    atomic_load_explicit(&l->level, memory_order_relaxed) < LOG_LEVEL_INFO)
		return;
	flat.r = *r;
	copy_field(flat.listener, r->listener);
	copy_field(flat.route, r->route);
	copy_field(flat.pool, r->pool);
	copy_field(flat.backend, r->backend);
	(void)ring_write(p->ring, &flat, sizeof(flat));
	wake(l);
}

int logger_wake_fd(const struct logger *l)
{
	return l->wake_fd;
}

struct log logger_handle(struct logger *l, uint32_t producer)
{
	/* The level is looked at in the sink, where a reload can change it. */
	return (struct log){
		.max = LOG_LEVEL_DEBUG,
		.sink = sink_line,
		.arg = &l->producer[producer],
	};
}

access_fn logger_access_fn(struct logger *l)
{
	(void)l;
	return take_access;
}

void *logger_access_arg(struct logger *l, uint32_t producer)
{
	return &l->producer[producer];
}

uint64_t logger_n_dropped(const struct logger *l)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < l->n_producers; i++)
		n += ring_n_dropped(l->producer[i].ring);
	return n;
}

/* ---- formatting ------------------------------------------------------------------------------ */

/* RFC 3339 in UTC, with milliseconds. */
static char *format_time(uint64_t ns, char out[32])
{
	time_t s = (time_t)(ns / 1000000000u);
	struct tm tm;
	size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));

	(void)snprintf(out + n, 32 - n, ".%03uZ", (unsigned)(ns / 1000000 % 1000));
	return out;
}

static void add_json(struct text *batch, struct json *j)
{
	if (json_is_ok(j)) {
		text_add(batch, (struct slice){ .p = j->out.p, .n = j->out.n });
		text_add(batch, SLICE("\n"));
	}
	json_deinit(j);
}

static void format_line(struct sink *s, enum log_level level, uint64_t ns, const char *line)
{
	char time[32];
	size_t start = s->batch.n;

	format_time(ns, time);
	if (s->format == CONF_LOG_TEXT) {
		text_addf(&s->batch, "%s %s %s", time, log_level_name(level), line);
		/* One event, one line, whatever words of others it quotes. */
		for (size_t i = start; i < s->batch.n; i++)
			if ((unsigned char)s->batch.p[i] < ' ')
				s->batch.p[i] = ' ';
		text_add(&s->batch, SLICE("\n"));
		return;
	}
	struct json j = JSON_INIT;
	json_object_begin(&j);
	json_kv_string(&j, "time", time);
	json_kv_string(&j, "level", log_level_name(level));
	log_fields_add(&j, line);
	json_object_end(&j);
	add_json(&s->batch, &j);
}

/* `msg`: that of a log line; NULL: it is a line of the access log. */
static void format_access_json(struct text *batch, const struct access_flat *a, const char *time,
			       const char *client, const char *msg)
{
	struct json j = JSON_INIT;

	json_object_begin(&j);
	json_kv_string(&j, "time", time);
	if (msg != NULL) {
		json_kv_string(&j, "level", log_level_name(LOG_LEVEL_INFO));
		json_kv_string(&j, "msg", msg);
	}
	json_kv_string(&j, "client", client);
	json_kv_string(&j, "listener", a->listener);
	json_kv_string(&j, "route", a->route);
	json_kv_string(&j, "pool", a->pool);
	json_kv_string(&j, "backend", a->backend);
	json_kv_uint(&j, "status", a->r.status);
	json_kv_uint(&j, "bytes_in", a->r.bytes_in);
	json_kv_uint(&j, "bytes_out", a->r.bytes_out);
	json_kv_uint(&j, "duration_ms", a->r.duration_ns / 1000000);
	json_kv_uint(&j, "handshake_ms", a->r.handshake_ms);
	json_kv_string(&j, "end", sess_end_word(a->r.end));
	json_kv_uint(&j, "id", a->r.id);
	json_kv_uint(&j, "ws_close", a->r.ws_close);
	json_kv_string(&j, "error", a->r.error != NULL ? a->r.error : "");
	json_object_end(&j);
	add_json(batch, &j);
}

/* "-" stands for what there is none of, so that columns stay columns. */
static const char *or_dash(const char *text)
{
	return text[0] != '\0' ? text : "-";
}

static void access_text(const struct access_flat *a, const char *client, char *out, size_t len)
{
	(void)snprintf(out, len,
		       "client=%s listener=%s route=%s pool=%s backend=%s status=%u bytes_in=%llu "
		       "bytes_out=%llu duration_ms=%llu handshake_ms=%u end=%s id=%llu "
		       "ws_close=%u error=\"%s\"",
		       client, or_dash(a->listener), or_dash(a->route), or_dash(a->pool),
		       or_dash(a->backend), a->r.status, (unsigned long long)a->r.bytes_in,
		       (unsigned long long)a->r.bytes_out,
		       (unsigned long long)(a->r.duration_ns / 1000000), a->r.handshake_ms,
		       sess_end_word(a->r.end), (unsigned long long)a->r.id, a->r.ws_close,
		       a->r.error != NULL ? a->r.error : "");
}

static void format_access(struct logger *l, const struct access_flat *a)
{
	char time[32], client[ADDR_TEXT_MAX], line[LOG_LINE_MAX];

	format_time(a->r.wall_ns, time);
	addr_format(&a->r.client, client);
	access_text(a, client, line, sizeof(line));
	if (l->access.to != NULL && l->access.format == CONF_LOG_JSON)
		format_access_json(&l->access.batch, a, time, client, NULL);
	else if (l->access.to != NULL)
		text_addf(&l->access.batch, "%s %s\n", time, line);

	if (atomic_load_explicit(&l->level, memory_order_relaxed) < LOG_LEVEL_INFO)
		return;
	if (l->log.format == CONF_LOG_JSON) {
		format_access_json(&l->log.batch, a, time, client, "connection ended");
	} else {
		char ended[LOG_LINE_MAX];
		(void)snprintf(ended, sizeof(ended), "connection ended %.*s", LOG_LINE_MAX - 20,
			       line);
		format_line(&l->log, LOG_LEVEL_INFO, a->r.wall_ns, ended);
	}
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void say_repeated(struct logger *l, struct producer *p, uint64_t ns)
{
	char line[64];

	if (p->n_repeated == 0)
		return;
	(void)snprintf(line, sizeof(line), "last line repeated times=%llu",
		       (unsigned long long)p->n_repeated);
	p->n_repeated = 0;
	format_line(&l->log, p->last_level, ns, line);
}

static void take_line(struct logger *l, struct producer *p, struct line_record *r, size_t n)
{
	size_t len = n - offsetof(struct line_record, text);

	r->text[len < LOG_LINE_MAX ? len : LOG_LINE_MAX - 1] = '\0';
	if (strcmp(r->text, p->last) == 0 && r->wall_ns - p->last_ns < REPEAT_NS) {
		p->n_repeated++;
		return;
	}
	say_repeated(l, p, r->wall_ns);
	memcpy(p->last, r->text, sizeof(p->last));
	p->last_level = r->level;
	p->last_ns = r->wall_ns;
	format_line(&l->log, r->level, r->wall_ns, r->text);
}

static void say_dropped(struct logger *l, struct producer *p)
{
	uint64_t n = ring_n_dropped(p->ring);
	char line[64];

	if (n == p->n_dropped_said)
		return;
	(void)snprintf(line, sizeof(line), "log lines dropped n=%llu",
		       (unsigned long long)(n - p->n_dropped_said));
	p->n_dropped_said = n;
	format_line(&l->log, LOG_LEVEL_WARN, wall_ns(), line);
}

/*
 * A descriptor for `to`, as in struct conf_log, or a negative errno
 *
 * Never waits: a FIFO that nobody reads yet is opened all the same, behind a reader of our own that
 * does not stay; what is written is lost until somebody reads.
 */
static int open_destination(const char *to)
{
	const int flags = O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

	if (strcmp(to, "stderr") == 0)
		return STDERR_FILENO;
	if (strcmp(to, "stdout") == 0)
		return STDOUT_FILENO;
	int fd = open(to, O_WRONLY | flags, 0640);
	if (fd >= 0 || errno != ENXIO)
		return fd < 0 ? -errno : fd;
	int reader = open(to, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	fd = reader < 0 ? -1 : open(to, O_WRONLY | flags, 0640);
	int r = fd < 0 ? -errno : fd;
	if (reader >= 0)
		(void)close(reader);
	return r;
}

static void set_destination(struct sink *s, int fd)
{
	struct stat st;

	s->fd = fd;
	s->is_torn = false;
	s->is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static void close_destination(struct sink *s)
{
	if (s->fd > STDERR_FILENO)
		(void)close(s->fd);
	s->fd = -1;
}

/*
 * Waits until a pipe, a terminal or a socket takes bytes: for as long as it needs, but at the end
 * of the process no longer than a moment. False: given up.
 */
static bool wait_writable(struct logger *l, const struct sink *s)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLOUT };

	while (poll(&pfd, 1, WAIT_MS) == 0)
		if (atomic_load_explicit(&l->should_stop, memory_order_acquire))
			return false;
	return true;
}

/* Writes as much as can be written; returns how much that was. */
static size_t write_out(struct logger *l, const struct sink *s, const char *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		size_t most = n - done;

		if (!s->is_file && !wait_writable(l, s))
			break;
		if (!s->is_file &&
		    most > PIPE_BUF) /* so much a writable pipe takes without blocking */
			most = PIPE_BUF;
		ssize_t r = write(s->fd, p + done, most);
		if (r > 0)
			done += (size_t)r;
		else if (r < 0 && errno != EINTR && errno != EAGAIN)
			break;
	}
	return done;
}

/* Writes the batch; what cannot be written is lost and counted. */
static void flush(struct logger *l, struct sink *s)
{
	size_t done = 0;

	if (s->batch.n == 0)
		return;
	if (s->fd >= 0 && s->is_torn)
		s->is_torn = write_out(l, s, "\n", 1) == 0;
	if (s->fd >= 0 && !s->is_torn) {
		done = write_out(l, s, s->batch.p, s->batch.n);
		s->is_torn = done > 0 && s->batch.p[done - 1] != '\n';
	}
	s->is_well = done == s->batch.n;
	s->n_lost += s->batch.n - done;
	text_clear(&s->batch);
}

static void say_lost(struct logger *l, struct sink *s)
{
	char line[LOG_LINE_MAX];

	if (s->to == NULL || !s->is_well || s->n_lost == s->n_lost_said)
		return;
	(void)snprintf(line, sizeof(line), "log bytes lost path=%.200s n=%llu", s->to,
		       (unsigned long long)(s->n_lost - s->n_lost_said));
	s->n_lost_said = s->n_lost;
	format_line(&l->log, LOG_LEVEL_WARN, wall_ns(), line);
}

static void reopen(struct logger *l, struct sink *s)
{
	char line[LOG_LINE_MAX];

	if (s->to == NULL)
		return;
	flush(l, s);
	int fd = open_destination(s->to);
	if (fd < 0) {
		(void)snprintf(line, sizeof(line),
			       "cannot open log, keeping the old one path=%.200s "
			       "error=\"%s\"",
			       s->to, strerror(-fd));
		format_line(&l->log, LOG_LEVEL_ERR, wall_ns(), line);
		return;
	}
	close_destination(s);
	set_destination(s, fd);
}

/* A new destination, or the old one. */
static void move_to(struct logger *l, struct sink *s, char *to, enum conf_log_format format)
{
	bool is_same = s->to != NULL && to != NULL && strcmp(s->to, to) == 0;

	flush(l, s);
	s->format = format;
	if (is_same || (s->to == NULL && to == NULL)) {
		free(to);
		return;
	}
	if (to == NULL)
		close_destination(s);
	free(s->to);
	s->to = to;
	reopen(l, s);
}

static void take_settings(struct logger *l)
{
	(void)pthread_mutex_lock(&l->lock);
	bool should_reopen = l->should_reopen;
	char *log = take_ptr(l->new_log), *access = take_ptr(l->new_access);
	enum conf_log_format log_format = l->log_format, access_format = l->access_format;
	bool has_new = log != NULL;
	l->should_reopen = false;
	(void)pthread_mutex_unlock(&l->lock);

	if (has_new) {
		move_to(l, &l->log, log, log_format);
		move_to(l, &l->access, access, access_format);
	}
	if (should_reopen) {
		reopen(l, &l->log);
		reopen(l, &l->access);
	}
}

static void drain(struct logger *l)
{
	union {
		uint32_t kind;
		struct line_record line;
		struct access_flat access;
	} r;
	size_t n;

	for (uint32_t i = 0; i < l->n_producers; i++) {
		struct producer *p = &l->producer[i];
		while ((n = ring_read(p->ring, &r, sizeof(r))) > 0) {
			if (r.kind == RECORD_LINE)
				take_line(l, p, &r.line, n);
			else
				format_access(l, &r.access);
			if (l->log.batch.n + l->access.batch.n > FLUSH_BYTES) {
				flush(l, &l->log);
				flush(l, &l->access);
			}
		}
		if (wall_ns() - p->last_ns >= REPEAT_NS)
			say_repeated(l, p, wall_ns());
		say_dropped(l, p);
	}
	flush(l, &l->log);
	flush(l, &l->access);
	say_lost(l, &l->log);
	say_lost(l, &l->access);
	flush(l, &l->log);
}

/* Whether a count of repetitions waits to be told. */
static bool has_repeated(const struct logger *l)
{
	for (uint32_t i = 0; i < l->n_producers; i++)
		if (l->producer[i].n_repeated > 0)
			return true;
	return false;
}

static void *run(void *arg)
{
	struct logger *l = arg;

	(void)pthread_setname_np(pthread_self(), "lb-log");
	privs_drop_thread_caps();
	for (;;) {
		struct pollfd pfd = { .fd = l->wake_fd, .events = POLLIN };
		uint64_t n;

		(void)poll(&pfd, 1, has_repeated(l) ? (int)(REPEAT_NS / 1000000) : -1);
		(void)!read(l->wake_fd, &n, sizeof(n));
		/*
		 * Cleared before draining: who writes behind our back wakes us again, and what was
		 * written by those who found it set is seen (an exchange, to acquire it).
		 */
		bool should_stop = atomic_load_explicit(&l->should_stop, memory_order_acquire);
		(void)atomic_exchange_explicit(&l->is_woken, false, memory_order_acq_rel);
		take_settings(l);
		drain(l);
		if (should_stop)
			break;
	}
	for (uint32_t i = 0; i < l->n_producers; i++)
		say_repeated(l, &l->producer[i], wall_ns());
	flush(l, &l->log);
	return NULL;
}

/* ---- main's side ----------------------------------------------------------------------------- */

static int open_sink(struct sink *s, const struct conf_log *c, struct err *e)
{
	s->fd = -1;
	if (!c->is_on)
		return 0;
	s->format = c->format;
	s->to = strdup(c->to);
	if (s->to == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	int fd = open_destination(s->to);
	if (fd < 0) {
		(void)refusal_log(e, c->at, s->to, fd);
		return fd;
	}
	set_destination(s, fd);
	return 0;
}

int logger_open(const struct conf_log *log, const struct conf_log *access, uint32_t n_producers,
		struct err *e, struct logger **ret)
{
	struct logger *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	(void)pthread_mutex_init(&l->lock, NULL);
	l->log.fd = l->access.fd = l->wake_fd = -1;
	atomic_init(&l->level, log->level);
	atomic_init(&l->has_access, access->is_on);
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	l->producer = calloc(n_producers, sizeof(*l->producer));
	int r = l->wake_fd < 0 ? -errno : l->producer == NULL ? -ENOMEM : 0;
	for (uint32_t i = 0; i < n_producers && r == 0; i++) {
		l->producer[i].logger = l;
		l->producer[i].ring = ring_new(RING_BYTES);
		r = l->producer[i].ring == NULL ? -ENOMEM : 0;
		l->n_producers++;
	}
	if (r < 0)
		(void)err_add(e, r, "logger: %s", strerror(-r));
	if (r == 0)
		r = open_sink(&l->log, log, e);
	if (r == 0)
		r = open_sink(&l->access, access, e);
	if (r < 0) {
		logger_stop(l);
		return r;
	}
	*ret = l;
	return 0;
}

int logger_start(struct logger *l)
{
	sigset_t all, old;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = -pthread_create(&l->thread, NULL, run, l);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	atomic_store_explicit(&l->is_running, r == 0, memory_order_release);
	return r;
}

struct logger *logger_stop(struct logger *l)
{
	if (l == NULL)
		return NULL;
	if (atomic_load(&l->is_running)) {
		atomic_store_explicit(&l->should_stop, true, memory_order_release);
		atomic_store(&l->is_woken, false);
		wake(l);
		(void)pthread_join(l->thread, NULL);
		atomic_store(&l->is_running, false);
	}
	for (uint32_t i = 0; i < l->n_producers; i++)
		ring_free(l->producer[i].ring);
	struct sink *sinks[] = { &l->log, &l->access };
	for (size_t i = 0; i < ARRAY_SIZE(sinks); i++) {
		close_destination(sinks[i]);
		text_deinit(&sinks[i]->batch);
		free(sinks[i]->to);
	}
	if (l->wake_fd >= 0)
		(void)close(l->wake_fd);
	(void)pthread_mutex_destroy(&l->lock);
	free(l->new_log);
	free(l->new_access);
	free(l->producer);
	free(l);
	return NULL;
}

void logger_reopen(struct logger *l)
{
	(void)pthread_mutex_lock(&l->lock);
	l->should_reopen = true;
	(void)pthread_mutex_unlock(&l->lock);
	wake(l);
}

void logger_reconfigure(struct logger *l, const struct conf_log *log, const struct conf_log *access)
{
	(void)pthread_mutex_lock(&l->lock);
	free(l->new_log);
	free(l->new_access);
	l->new_log = strdup(log->to);
	l->new_access = access->is_on ? strdup(access->to) : NULL;
	l->log_format = log->format;
	l->access_format = access->format;
	(void)pthread_mutex_unlock(&l->lock);
	atomic_store_explicit(&l->level, log->level, memory_order_relaxed);
	atomic_store_explicit(&l->has_access, access->is_on, memory_order_relaxed);
	wake(l);
}

/*
 * What else a path may lead to, by a symbolic link or a second name, was not made for lb: who owns
 * the folder could have put it there to be given it.
 */
static void give(const struct sink *s, uid_t uid, gid_t gid)
{
	struct stat named, open;

	if (s->fd <= STDERR_FILENO || lstat(s->to, &named) < 0 || fstat(s->fd, &open) < 0)
		return;
	if (S_ISREG(named.st_mode) && named.st_nlink == 1 && named.st_ino == open.st_ino &&
	    named.st_dev == open.st_dev)
		(void)!fchown(s->fd, uid, gid);
}

void logger_chown(struct logger *l, uid_t uid, gid_t gid)
{
	give(&l->log, uid, gid);
	give(&l->access, uid, gid);
}

/* Whether one of them could be opened. A FIFO is only looked at: its reader would see an end. */
static int check_file(const struct conf_log *c, struct err *e)
{
	struct stat st;
	int r = 0;

	if (!c->is_on)
		return 0;
	if (stat(c->to, &st) == 0 && S_ISFIFO(st.st_mode)) {
		r = faccessat(AT_FDCWD, c->to, W_OK, AT_EACCESS) < 0 ? -errno : 0;
	} else {
		r = open_destination(c->to);
		if (r > STDERR_FILENO)
			(void)close(r);
	}
	return r < 0 ? refusal_log(e, c->at, c->to, r) : 0;
}

int logger_try(const struct conf_log *log, struct err *e)
{
	char folder[PATH_MAX];
	struct stat st;

	if (!log->is_on || log->to[0] != '/' || stat(log->to, &st) == 0 || errno != ENOENT)
		return check_file(log, e);
	(void)refusal_folder(log->to, folder, sizeof(folder));
	int r = faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
	return r < 0 ? refusal_log(e, log->at, log->to, r) : 0;
}

int logger_check(const struct conf_log *log, const struct conf_log *access, struct err *e)
{
	int first = check_file(log, e), second = check_file(access, e);

	return first < 0 ? first : second;
}
