/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log thread, and how lines reach it.
 *
 *   main, workers --ring each--> log thread --write(2)--> log, access log
 *
 * Terms. A producer is main (number 0) or a worker. Each producer has a ring of its own
 * (util/ring.h), with one writer and one reader. A ring holds records. A record is a line of text
 * (struct line_record) or an ended connection (struct log_access); its first member tells which. A
 * batch is the text that is written next to one file (log_output.c).
 *
 * A producer writes records into its own ring and never waits: a record that finds the ring full
 * is dropped and counted (sink_line(), take_access()). When the log thread is idle, the producer's
 * first record wakes the log thread through an eventfd (wake()) and sets `is_woken`. While
 * `is_woken` is set, further records do not write to the eventfd.
 *
 * run() is the log thread. When woken it clears `is_woken`, takes new settings from main
 * (take_settings()), formats the records of all rings into the batches and writes them (drain()).
 * Equal lines of one producer that come within REPEAT_NS are counted and not written;
 * say_repeated() writes the count. say_dropped() writes how many records found their ring full.
 *
 * On main, in this order: logger_open() opens the files, logger_chown() gives them to `user`,
 * logger_start() starts the thread, logger_reconfigure() (a reload) and logger_reopen() (USR1)
 * hand over what the thread is to do next, and logger_stop() lets the thread write the records that
 * are left, and joins the thread. Before the thread runs, lines go to stderr (direct()).
 *
 * The lock guards the settings that main hands over. The log thread holds the lock only while it
 * copies them, so main never waits for the log thread to write or open a file.
 *
 * Relies on: log_output.c (the two files), log_format.c (a record as text or JSON).
 *
 * Thread: producers, the log thread and main, by section.
 */
#include "daemon/logger.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/log_file.h"
#include "daemon/log_format.h"
#include "daemon/log_output.h"
#include "daemon/privs.h"
#include "util/ring.h"

#define RING_BYTES (256u << 10)
#define REPEAT_NS 1000000000u /* equal lines within a second are counted, not written */

enum record_kind { RECORD_LINE, RECORD_ACCESS };

struct line_record {
	uint32_t kind;
	enum log_level level;
	uint64_t wall_ns;
	char text[LOG_LINE_MAX];
};

struct producer {
	struct logger *logger; /* borrows */
	struct ring *ring;     /* owns */
	/* for the log thread only: the producer's last line, with which new lines are compared */
	char last[LOG_LINE_MAX];
	enum log_level last_level;
	uint64_t last_ns, n_repeated, n_dropped_said;
};

struct logger {
	struct producer *producer; /* owns */
	uint32_t n_producers;
	int wake_fd;
	atomic_bool is_woken;
	atomic_int level;       /* enum log_level: producers drop lines above this level */
	atomic_bool has_access; /* the access log is on */
	pthread_t thread;
	atomic_bool is_running, should_stop;
	struct log_output output; /* while the log thread runs, only that thread uses it */

	pthread_mutex_t lock; /* guards the members below */
	bool should_reopen;
	char *new_log, *new_access; /* own: from a reload; new_log is NULL: no new settings */
	enum conf_log_format log_format, access_format;
};

/* ---- producers ------------------------------------------------------------------------------- */

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
	LB_ASSERT(n <= LOG_LINE_MAX);
	struct line_record r = { .kind = RECORD_LINE,
				 .level = level,
				 .wall_ns = log_output_wall_ns() };
	memcpy(r.text, line, n);
	(void)ring_write(p->ring, &r, offsetof(struct line_record, text) + n);
	wake(l);
}

static void copy_field(char *out, size_t size, const char *text)
{
	size_t n = text != NULL ? strnlen(text, size - 1) : 0;

	if (n > 0)
		memcpy(out, text, n);
	out[n] = '\0';
}

static void take_access(void *arg, const struct access_record *r)
{
	struct producer *p = arg;
	struct logger *l = p->logger;
	struct log_access flat = { .kind = RECORD_ACCESS };

	if (!atomic_load_explicit(&l->has_access, memory_order_relaxed) &&
	    atomic_load_explicit(&l->level, memory_order_relaxed) < LOG_LEVEL_INFO)
		return;
	flat.r = *r;
	copy_field(flat.listener, sizeof(flat.listener), r->listener);
	copy_field(flat.route, sizeof(flat.route), r->route);
	copy_field(flat.pool, sizeof(flat.pool), r->pool);
	copy_field(flat.backend, sizeof(flat.backend), r->backend);
	copy_field(flat.tls.sni, sizeof(flat.tls.sni), r->sni);
	copy_field(flat.tls.client_cert, sizeof(flat.tls.client_cert), r->client_cert);
	bool has_tls = r->tls_version != NULL;
	(void)ring_write(p->ring, &flat, has_tls ? sizeof(flat) : offsetof(struct log_access, tls));
	wake(l);
}

int logger_wake_fd(const struct logger *l)
{
	return l->wake_fd;
}

struct log logger_handle(struct logger *l, uint32_t producer)
{
	LB_ASSERT(producer < l->n_producers);
	/* The handle passes lines of every level. A reload may change the level, so sink_line()
	 * compares it for each line. */
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
	LB_ASSERT(producer < l->n_producers);
	return &l->producer[producer];
}

uint64_t logger_n_dropped(const struct logger *l)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < l->n_producers; i++)
		n += ring_n_dropped(l->producer[i].ring);
	return n;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void take_ended(struct logger *l, const struct log_access *a)
{
	int level = atomic_load_explicit(&l->level, memory_order_relaxed);

	LB_ASSERT(a->kind == RECORD_ACCESS);
	log_output_access(&l->output, a, level >= LOG_LEVEL_INFO);
}

static void say_repeated(struct logger *l, struct producer *p, uint64_t ns)
{
	char line[64];

	if (p->n_repeated == 0)
		return;
	(void)snprintf(line, sizeof(line), "last line repeated times=%llu",
		       (unsigned long long)p->n_repeated);
	p->n_repeated = 0;
	log_output_line(&l->output, p->last_level, ns, line);
}

static void take_line(struct logger *l, struct producer *p, struct line_record *r, size_t n)
{
	size_t len = n - offsetof(struct line_record, text);

	LB_ASSERT(n >= offsetof(struct line_record, text) && len <= LOG_LINE_MAX);
	r->text[len < LOG_LINE_MAX ? len : LOG_LINE_MAX - 1] = '\0';
	if (strcmp(r->text, p->last) == 0 && r->wall_ns - p->last_ns < REPEAT_NS) {
		p->n_repeated++;
		return;
	}
	say_repeated(l, p, r->wall_ns);
	memcpy(p->last, r->text, sizeof(p->last));
	p->last_level = r->level;
	p->last_ns = r->wall_ns;
	log_output_line(&l->output, r->level, r->wall_ns, r->text);
}

static void say_dropped(struct logger *l, struct producer *p)
{
	uint64_t n = ring_n_dropped(p->ring);
	char line[64];

	LB_ASSERT(n >= p->n_dropped_said);
	if (n == p->n_dropped_said)
		return;
	(void)snprintf(line, sizeof(line), "log lines dropped n=%llu",
		       (unsigned long long)(n - p->n_dropped_said));
	p->n_dropped_said = n;
	log_output_line(&l->output, LOG_LEVEL_WARN, log_output_wall_ns(), line);
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

	if (has_new)
		log_output_move(&l->output, log, log_format, access, access_format);
	if (should_reopen)
		log_output_reopen(&l->output);
}

static void drain(struct logger *l)
{
	union {
		uint32_t kind;
		struct line_record line;
		struct log_access access;
	} r;
	size_t n;

	for (uint32_t i = 0; i < l->n_producers; i++) {
		struct producer *p = &l->producer[i];
		while ((n = ring_read(p->ring, &r, sizeof(r))) > 0) {
			LB_ASSERT(r.kind == RECORD_LINE || n >= offsetof(struct log_access, tls));
			if (r.kind == RECORD_LINE)
				take_line(l, p, &r.line, n);
			else
				take_ended(l, &r.access);
			log_output_flush_large(&l->output);
		}
		if (log_output_wall_ns() - p->last_ns >= REPEAT_NS)
			say_repeated(l, p, log_output_wall_ns());
		say_dropped(l, p);
	}
	log_output_flush(&l->output);
}

/* Whether a producer has repeated its last line and the count is not logged yet. */
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
		 * is_woken is cleared before the rings are read, so a producer that writes a record
		 * from now on wakes this thread again. Some producers have found is_woken set and
		 * did not write to the eventfd. The exchange acquires, so that drain() sees the
		 * records of these producers.
		 */
		bool should_stop = atomic_load_explicit(&l->should_stop, memory_order_acquire);
		(void)atomic_exchange_explicit(&l->is_woken, false, memory_order_acq_rel);
		take_settings(l);
		drain(l);
		if (should_stop)
			break;
	}
	for (uint32_t i = 0; i < l->n_producers; i++)
		say_repeated(l, &l->producer[i], log_output_wall_ns());
	log_output_flush(&l->output);
	return NULL;
}

/* ---- main's side ----------------------------------------------------------------------------- */

int logger_open(const struct conf_log *log, const struct conf_log *access, uint32_t n_producers,
		struct err *e, struct logger **ret)
{
	LB_ASSERT(n_producers > 0);
	struct logger *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	(void)pthread_mutex_init(&l->lock, NULL);
	l->wake_fd = -1;
	log_output_init(&l->output, &l->should_stop);
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
		r = log_output_open(&l->output, log, access, e);
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

	LB_ASSERT(!atomic_load(&l->is_running) && !atomic_load(&l->should_stop));
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
	log_output_close(&l->output);
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

void logger_chown(struct logger *l, uid_t uid, gid_t gid)
{
	LB_ASSERT(!atomic_load(&l->is_running)); /* no log thread uses the files yet */
	log_output_chown(&l->output, uid, gid);
}

int logger_check(const struct conf_log *log, const struct conf_log *access, struct err *e)
{
	int first = log_file_check(log, e), second = log_file_check(access, e);

	return first < 0 ? first : second;
}
