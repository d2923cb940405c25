/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay FOLDER...: gives every file of the folders to a fuzz target, which is linked with this.
 *
 * What libFuzzer's own main() does with files, for any compiler: a corpus is an ordinary test. A
 * violated promise aborts; the last line on stdout then names the file. An empty folder is a
 * mistake in the call, not a success.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

/* What is read of one file; libFuzzer's own limit is as large. */
#define INPUT_MAX (1u << 20)

static void replay_file(const char *path)
{
	static uint8_t buf[INPUT_MAX];
	FILE *f = fopen(path, "rbe");

	if (f == NULL) {
		printf("%s: %s\n", path, strerror(errno));
		exit(1);
	}
	size_t n = fread(buf, 1, sizeof(buf), f);
	LB_ASSERT(feof(f) && !ferror(f));
	(void)fclose(f);

	/* Ends where its memory ends, for sanitizers. */
	uint8_t *data = fuzz_copy(buf, n);
	printf("%s: %zu bytes\n", path, n);
	(void)fflush(stdout);
	LB_ASSERT(LLVMFuzzerTestOneInput(data, n) == 0);
	free(data);
}

static int is_visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

/* In the order of the names; returns how many files there were. */
static size_t replay_folder(const char *folder)
{
	struct dirent **entries;
	int n = scandir(folder, &entries, is_visible, alphasort);

	if (n < 0) {
		printf("%s: %s\n", folder, strerror(errno));
		exit(1);
	}
	for (int i = 0; i < n; i++) {
		char *path;

		LB_ASSERT(asprintf(&path, "%s/%s", folder, entries[i]->d_name) > 0);
		replay_file(path);
		free(path);
		free(entries[i]);
	}
	free(entries);
	return (size_t)n;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		printf("usage: %s FOLDER...\n", argv[0]);
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		if (replay_folder(argv[i]) == 0) {
			printf("%s: no files\n", argv[i]);
			return 1;
		}
	}
	return 0;
}
