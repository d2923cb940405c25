/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tcp_state.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>

#include "ev/loop.h"

/* TCP_CLOSE of the kernel's enum; <netinet/tcp.h>, which has it, lacks the newer struct tcp_info.
 */
#define STATE_CLOSED 7

static bool tcp_info(struct loop *l, int fd, struct tcp_info *ret)
{
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return loop_getsockopt(l, fd, IPPROTO_TCP, TCP_INFO, ret, &len) == 0;
}

bool tcp_state_is_delivered(struct loop *l, int fd)
{
	struct tcp_info ti;

	if (!tcp_info(l, fd, &ti))
		return true;
	/* After a reset or a time-out nothing will be delivered any more. */
	return ti.tcpi_state == STATE_CLOSED ||
	       (ti.tcpi_unacked == 0 && ti.tcpi_notsent_bytes == 0);
}

bool tcp_state_is_alive(struct loop *l, int fd, uint32_t user_ms)
{
	struct tcp_info ti;

	if (!tcp_info(l, fd, &ti))
		return false;
	/*
	 * Who vanished with an open window was last heard when the bytes were sent, user_ms ago. A
	 * closed window is probed ever more seldom: the last answer may be almost as old.
	 */
	bool is_closed = ti.tcpi_snd_wnd < ti.tcpi_snd_mss;
	uint32_t limit_ms = is_closed ? user_ms + user_ms / 8 : user_ms - user_ms / 16;
	return ti.tcpi_last_ack_recv < limit_ms;
}

bool tcp_state_taken(struct loop *l, int fd, struct tcp_taken *ret)
{
	struct tcp_info ti;

	if (!tcp_info(l, fd, &ti) || ti.tcpi_state == STATE_CLOSED)
		return false;
	ret->bytes = (uint32_t)ti.tcpi_bytes_acked;
	/* Nothing is on its way: since then acknowledgements only answer keepalive and the probes
	 * of a closed window. */
	ret->is_shut_out = ti.tcpi_unacked == 0 && ti.tcpi_notsent_bytes > 0;
	ret->quiet_ms = ti.tcpi_unacked > 0 ? ti.tcpi_last_ack_recv : ti.tcpi_last_data_sent;
	return true;
}
