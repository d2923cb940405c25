/* SPDX-License-Identifier: Apache-2.0 */
/* One process of lb-load: its loop, and what its connections are told to do next. */
#include "load.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 256
#define PATTERN_SEED 0x6c622d6c6f6164ull

uint64_t load_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* splitmix64 */
uint64_t load_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Of a Poisson process: the clients know nothing of each other. */
static uint64_t gap_ns(struct crew *w)
{
	double part = (double)(load_random(&w->random) >> 11) * 0x1p-53;
	double mean = 1e9 * w->conf->n_crews / w->conf->rate;

	return (uint64_t)(-log(1.0 - part) * mean);
}

/* ---- what connections report ----------------------------------------------------------------- */

static void open_more(struct crew *w)
{
	uint32_t most = LOAD_OPENING_ALL / w->conf->n_crews;

	most = most < LOAD_OPENING_MAX ? most : LOAD_OPENING_MAX;
	while (w->n_begun < w->n_clients && w->n_opening < most) {
		w->n_opening++;
		client_connect(w, &w->clients[w->n_begun++]);
	}
}

static void again(struct crew *w, struct client *c)
{
	client_close(c);
	if (w->is_stopping)
		return;
	w->n_opening++;
	client_connect(w, c);
}

void crew_on_open(struct crew *w, struct client *c)
{
	w->n_opening--;
	tally_add(&w->tally->opened, 1);
	if (w->conf->plan == PLAN_CHURN)
		again(w, c);
	else
		(void)client_send(w, c, load_now_ns()); /* the first: there is room */
}

void crew_on_message(struct crew *w, struct client *c)
{
	if (!c->is_ready) {
		c->is_ready = true;
		tally_add(&w->tally->ready, 1);
	}
	if (w->conf->plan == PLAN_ECHO && w->is_started && !w->is_stopping &&
	    c - w->clients < w->n_active)
		(void)client_send(w, c, load_now_ns()); /* none is under way: there is room */
}

void crew_on_failure(struct crew *w, struct client *c, const char *why)
{
	uint64_t n_lost = c->tx_seq - c->rx_seq + (c->tx_len != 0);

	if (!w->has_complained)
		(void)fprintf(stderr, "lb-load: connection %u: %s: %s\n", c->id, why,
			      strerror(errno));
	w->has_complained = true;
	if (c->phase != CLIENT_OPEN)
		w->n_opening--;
	w->n_under_way -= n_lost;
	tally_add(&w->tally->lost, n_lost);
	tally_add(&w->tally->failed, 1);
	client_close(c);
}

/* ---- commands and plans ---------------------------------------------------------------------- */

static void start(struct crew *w)
{
	uint64_t now = load_now_ns();

	w->is_started = true;
	w->next_due = now + gap_ns(w);
	for (uint32_t i = 0; i < w->n_active; i++) {
		struct client *c = &w->clients[i];

		if (w->conf->plan == PLAN_CHURN)
			again(w, c);
		else if (w->conf->plan == PLAN_ECHO && c->phase == CLIENT_OPEN)
			(void)client_send(w, c, now);
	}
}

static void send_all(struct crew *w)
{
	for (uint32_t i = 0; i < w->n_clients; i++) {
		if (w->clients[i].phase == CLIENT_OPEN)
			(void)client_send(w, &w->clients[i], load_now_ns());
	}
}

static void stop(struct crew *w)
{
	w->is_stopping = true;
	if (w->conf->plan == PLAN_HOLD)
		send_all(w);
}

/* Sends what is due in an open loop. */
static void send_due(struct crew *w)
{
	uint64_t now = load_now_ns();

	while (w->next_due <= now) {
		struct client *c = &w->clients[w->turn++ % w->n_active];

		if (c->phase == CLIENT_OPEN && !client_send(w, c, w->next_due))
			tally_add(&w->tally->overrun, 1);
		w->next_due += gap_ns(w);
	}
}

static void on_control(struct crew *w)
{
	char command;

	if (read(w->control, &command, 1) != 1)
		_exit(1); /* the parent is gone */
	if (command == 's')
		start(w);
	else if (command == 'a')
		send_all(w);
	else
		stop(w);
}

static int wait_for(struct crew *w, struct epoll_event *events, uint64_t until)
{
	uint64_t now = load_now_ns(), left = until > now ? until - now : 0;
	const struct timespec t = {
		.tv_sec = (time_t)(left / 1000000000u),
		.tv_nsec = (long)(left % 1000000000u),
	};

	return epoll_pwait2(w->epoll, events, EVENTS_MAX, until == UINT64_MAX ? NULL : &t, NULL);
}

static void crew_init(struct crew *w)
{
	struct epoll_event e = { .events = EPOLLIN };
	size_t n_pattern = LOAD_OFFSETS + w->conf->size;
	uint64_t seed = PATTERN_SEED;

	w->random = w->index + 1;
	w->clients = calloc(w->n_clients, sizeof(*w->clients));
	w->pattern = malloc(n_pattern + sizeof(uint64_t));
	w->scratch = malloc(LOAD_SCRATCH);
	w->received = malloc(LOAD_SCRATCH);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->clients == NULL || w->pattern == NULL || w->scratch == NULL || w->received == NULL ||
	    w->epoll < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->control, &e) < 0) {
		perror("lb-load");
		_exit(1);
	}
	for (size_t i = 0; i < n_pattern; i += sizeof(uint64_t)) {
		uint64_t word = load_random(&seed);

		memcpy(w->pattern + i, &word, sizeof(word));
	}
	for (uint32_t i = 0; i < w->n_clients; i++)
		w->clients[i] = (struct client){ .id = i * w->conf->n_crews + w->index, .fd = -1 };
}

static void crew_deinit(struct crew *w)
{
	for (uint32_t i = 0; i < w->n_clients; i++)
		client_close(&w->clients[i]);
	close(w->epoll);
	free(w->clients);
	free(w->pattern);
	free(w->scratch);
	free(w->received);
}

void crew_run(struct crew *w)
{
	struct epoll_event events[EVENTS_MAX];
	uint64_t deadline = UINT64_MAX;

	crew_init(w);
	while (!w->is_stopping || w->n_under_way + w->n_opening > 0) {
		bool is_pacing = w->conf->plan == PLAN_OPEN && w->is_started && !w->is_stopping;

		if (w->conf->plan != PLAN_CHURN && !w->is_stopping)
			open_more(w);
		int n = wait_for(w, events, is_pacing ? w->next_due : deadline);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == NULL)
				on_control(w);
			else
				client_on_event(w, events[i].data.ptr, events[i].events);
		}
		if (is_pacing && !w->is_stopping)
			send_due(w);
		if (w->is_stopping && deadline == UINT64_MAX)
			deadline = load_now_ns() + LOAD_GRACE_NS +
				   (uint64_t)w->conf->n_conns * LOAD_GRACE_CONN_NS;
		if (load_now_ns() >= deadline)
			break;
	}
	tally_add(&w->tally->lost, w->n_under_way);
	tally_add(&w->tally->failed, w->n_opening);
	crew_deinit(w);
}
