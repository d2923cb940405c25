/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lb-load: forks the crews, obeys the commands on stdin, reports on stdout, a line of JSON each.
 *
 *   (at once)  "ready" when every connection is open and has echoed a message
 *   start      begin with the plan; answered by "started"
 *   mark       totals so far, and the latencies since the last mark
 *   again      with plan hold: every connection echoes another message; answered by "again"
 *   stop       wait for what is under way, then the totals; the exit status is 1 if any connection
 *              failed or any message was wrong, lost or late to be sent
 *
 * Without a command (end of file) everything is closed at once.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CREWS_MAX 64u
#define READY_NS (120ull * 1000 * 1000 * 1000)
#define READY_CONN_NS (1000u * 1000) /* and for each connection so much more */
#define POLL_US 2000u

struct load {
	struct load_conf conf;
	struct tally *tally; /* shared: one per crew */
	int control[CREWS_MAX];
	pid_t pid[CREWS_MAX];
	uint64_t last[HIST_N]; /* the histograms' sum at the last mark */
};

struct total {
	uint64_t messages, opened, ready, failed, wrong, lost, overrun;
};

static const char usage[] =
	"usage: lb-load hold|echo|open|churn -t ADDR:PORT [-p PROCESSES] [-c CONNECTIONS]\n"
	"               [-a ACTIVE] [-s BYTES] [-r MESSAGES_PER_SECOND]\n";

static struct total total_of(const struct load *l)
{
	struct total t = { 0 };

	for (uint32_t i = 0; i < l->conf.n_crews; i++) {
		t.messages += l->tally[i].messages;
		t.opened += l->tally[i].opened;
		t.ready += l->tally[i].ready;
		t.failed += l->tally[i].failed;
		t.wrong += l->tally[i].wrong;
		t.lost += l->tally[i].lost;
		t.overrun += l->tally[i].overrun;
	}
	return t;
}

static void report(struct load *l, const char *event)
{
	static uint64_t now[HIST_N], since[HIST_N];
	struct total t = total_of(l);

	for (size_t i = 0; i < HIST_N; i++) {
		now[i] = 0;
		for (uint32_t k = 0; k < l->conf.n_crews; k++)
			now[i] += l->tally[k].latency.n[i];
		since[i] = now[i] - l->last[i];
		l->last[i] = now[i];
	}
	printf("{\"event\":\"%s\",\"time_ns\":%ju,\"messages\":%ju,\"opened\":%ju,\"ready\":%ju,"
	       "\"failed\":%ju,\"wrong\":%ju,\"lost\":%ju,\"overrun\":%ju,"
	       "\"p50_ns\":%ju,\"p99_ns\":%ju,\"max_ns\":%ju}\n",
	       event, (uintmax_t)load_now_ns(), (uintmax_t)t.messages, (uintmax_t)t.opened,
	       (uintmax_t)t.ready, (uintmax_t)t.failed, (uintmax_t)t.wrong, (uintmax_t)t.lost,
	       (uintmax_t)t.overrun, (uintmax_t)hist_part(since, 0.5),
	       (uintmax_t)hist_part(since, 0.99), (uintmax_t)hist_part(since, 1));
	(void)fflush(stdout);
}

/* ---- crews ----------------------------------------------------------------------------------- */

static void run_crew(const struct load *l, uint32_t i, int control)
{
	const struct load_conf *c = &l->conf;
	struct crew w = {
		.conf = c,
		.tally = &l->tally[i],
		.control = control,
		.index = i,
		.n_clients = c->n_conns / c->n_crews + (i < c->n_conns % c->n_crews),
		.n_active = c->n_active / c->n_crews + (i < c->n_active % c->n_crews),
	};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	crew_run(&w);
	_exit(0);
}

static int fork_crews(struct load *l)
{
	for (uint32_t i = 0; i < l->conf.n_crews; i++) {
		int ends[2];

		if (pipe(ends) < 0)
			return -errno;
		pid_t pid = fork();
		if (pid < 0)
			return -errno;
		if (pid == 0) {
			for (uint32_t k = 0; k < i; k++)
				close(l->control[k]);
			close(ends[1]);
			run_crew(l, i, ends[0]);
		}
		close(ends[0]);
		l->control[i] = ends[1];
		l->pid[i] = pid;
	}
	return 0;
}

static void tell(const struct load *l, char command)
{
	for (uint32_t i = 0; i < l->conf.n_crews; i++) {
		if (write(l->control[i], &command, 1) != 1)
			perror("lb-load: a process is gone");
	}
}

static uint64_t n_ready(const struct total *t)
{
	return t->ready;
}

static uint64_t n_messages(const struct total *t)
{
	return t->messages;
}

/* Waits until `count` is `n`. False when a connection failed or it takes too long. */
static bool wait_until(const struct load *l, uint64_t (*count)(const struct total *), uint64_t n)
{
	uint64_t deadline = load_now_ns() + READY_NS + (uint64_t)l->conf.n_conns * READY_CONN_NS;

	for (;;) {
		struct total t = total_of(l);

		if (t.failed > 0 || load_now_ns() > deadline)
			return false;
		if (count(&t) == n)
			return true;
		usleep(POLL_US);
	}
}

static bool echo_again(const struct load *l)
{
	struct total t = total_of(l);

	tell(l, 'a');
	return wait_until(l, n_messages, t.messages + l->conf.n_conns);
}

/* Waits for the crews' ends. False: one died. */
static bool reap(const struct load *l)
{
	bool is_right = true;

	for (uint32_t i = 0; i < l->conf.n_crews; i++) {
		int status;

		if (waitpid(l->pid[i], &status, 0) != l->pid[i] || status != 0)
			is_right = false;
	}
	return is_right;
}

/* ---- the command line ------------------------------------------------------------------------ */

static bool parse_plan(struct load_conf *c, const char *word)
{
	static const char *const names[] = { [PLAN_HOLD] = "hold",
					     [PLAN_ECHO] = "echo",
					     [PLAN_OPEN] = "open",
					     [PLAN_CHURN] = "churn" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], word) == 0) {
			c->plan = (enum load_plan)i;
			return true;
		}
	}
	return false;
}

static bool parse_target(struct load_conf *c, char *text)
{
	char *colon = strrchr(text, ':');

	if (colon == NULL)
		return false;
	*colon = '\0';
	c->target.sin_family = AF_INET;
	c->target.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	return c->target.sin_port != 0 && inet_pton(AF_INET, text, &c->target.sin_addr) == 1;
}

static bool parse_args(struct load_conf *c, int argc, char **argv)
{
	bool has_target = false;
	int opt;

	if (argc < 2 || !parse_plan(c, argv[1]))
		return false;
	while ((opt = getopt(argc - 1, argv + 1, "t:p:c:a:s:r:")) != -1) {
		switch (opt) {
		case 't': has_target = parse_target(c, optarg); break;
		case 'p': c->n_crews = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 'c': c->n_conns = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 'a': c->n_active = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 's': c->size = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 'r': c->rate = strtod(optarg, NULL); break;
		default: return false;
		}
	}
	if (c->n_active == 0 || c->n_active > c->n_conns)
		c->n_active = c->n_conns;
	return has_target && optind == argc - 1 && c->n_crews >= 1 && c->n_crews <= CREWS_MAX &&
	       c->n_active >= c->n_crews && c->size >= 1 && c->size <= LOAD_SIZE_MAX && c->rate > 0;
}

static void raise_nofile(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
}

static int obey(struct load *l)
{
	char line[32];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (strcmp(line, "start\n") == 0) {
			tell(l, 's');
			report(l, "started");
		} else if (strcmp(line, "mark\n") == 0) {
			report(l, "mark");
		} else if (strcmp(line, "again\n") == 0 && l->conf.plan == PLAN_HOLD) {
			report(l, echo_again(l) ? "again" : "failed");
		} else if (strcmp(line, "stop\n") == 0) {
			tell(l, 'x');
			bool is_right = reap(l);
			struct total t = total_of(l);

			report(l, "stopped");
			return !is_right || t.failed + t.wrong + t.lost + t.overrun > 0;
		} else {
			(void)fputs("lb-load: commands are start, mark, again, stop\n", stderr);
		}
	}
	return 1;
}

int main(int argc, char **argv)
{
	static struct load l = {
		.conf = { .n_crews = 2, .n_conns = 100, .size = 64, .rate = 1000 },
	};

	if (!parse_args(&l.conf, argc, argv)) {
		(void)fputs(usage, stderr);
		return 2;
	}
	raise_nofile();
	signal(SIGPIPE, SIG_IGN);
	l.tally = mmap(NULL, l.conf.n_crews * sizeof(*l.tally), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (l.tally == MAP_FAILED || fork_crews(&l) < 0) {
		perror("lb-load");
		return 1;
	}
	if (l.conf.plan != PLAN_CHURN && !wait_until(&l, n_ready, l.conf.n_conns)) {
		report(&l, "failed");
		return 1;
	}
	report(&l, "ready");
	return obey(&l);
}
