/* SPDX-License-Identifier: Apache-2.0 */
/* main() of lbctl: reads the command line, does what it asks for, returns the exit status. */
#include <stdio.h>

#include "ctl/ctl.h"
#include "ctl/wait.h"

static int run(const struct ctl *c)
{
	switch (c->action) {
	case CTL_ASK: return ctl_ask(c);
	case CTL_WAIT: return wait_drained(c);
	case CTL_HELP: return fputs(ctl_usage, stdout) < 0 ? CTL_FAILED : 0;
	case CTL_VERSION: return puts("lbctl " LB_VERSION) < 0 ? CTL_FAILED : 0;
	}
	return CTL_FAILED;
}

int main(int argc, char **argv)
{
	_cleanup_(ctl_deinit) struct ctl c = CTL_INIT;
	int status = ctl_parse(argc, argv, &c);

	return status != 0 ? status : run(&c);
}
