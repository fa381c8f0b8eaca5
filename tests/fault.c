#include "tests/fault.h"

#include <omp.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The status that the child ended with, its words in text. */
static int in_child(void (*f)(void), char text[512])
{
	int pipes[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t child;

	KC_ASSERT(!pipe(pipes));
	child = fork();
	KC_ASSERT(child >= 0);
	if (!child) {
		omp_set_num_threads(1);         /* those of earlier tests are not here */
		dup2(pipes[1], 2);
		close(pipes[0]);
		f();
		_exit(0);
	}
	close(pipes[1]);
	while ((got = read(pipes[0], text + n, 511 - n)) > 0)
		n += (size_t)got;
	text[n] = 0;
	close(pipes[0]);
	KC_ASSERT(waitpid(child, &status, 0) == child);
	return status;
}

void kc_test_fault(void (*f)(void), const char *words)
{
	char text[512];
	int status = in_child(f, text);

	KC_CHECK(status != 0);
	if (!strstr(text, words))
		kc_test_fail(__FILE__, __LINE__, "said \"%s\", expected \"%s\"", text, words);
}
