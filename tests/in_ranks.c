#include "tests/in_ranks.h"

#include "tests/test.h"

#include <arpa/inet.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int test_free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	KC_ASSERT(fd >= 0 && !bind(fd, (struct sockaddr *)&a, n) &&
		  !getsockname(fd, (struct sockaddr *)&a, &n));
	close(fd);
	return ntohs(a.sin_port);
}

static void set_number(const char *variable, int value)
{
	char text[16];

	snprintf(text, sizeof text, "%d", value);
	setenv(variable, text, 1);
}

void test_set_variables(int rank, int size, int port)
{
	set_number("RANK", rank);
	set_number("LOCAL_RANK", rank);
	set_number("WORLD_SIZE", size);
	set_number("MASTER_PORT", port);
	setenv("MASTER_ADDR", "127.0.0.1", 1);
}

int test_status_of(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

void test_in_ranks(int size, int (*work)(struct kc_ranks *))
{
	int port = test_free_port();
	pid_t pid[8];

	fflush(stdout);
	for (int rank = 0; rank < size; rank++) {
		pid[rank] = fork();
		KC_ASSERT(pid[rank] >= 0);
		if (!pid[rank]) {
			struct kc_ranks r;
			int bad = 1;

			/* The threads of earlier tests are not there any more. */
			omp_set_num_threads(1);
			test_set_variables(rank, size, port);
			if (KC_CHECK_OK(kc_ranks_open(&r))) {
				bad = work(&r);
				kc_ranks_close(&r, 0);
			}
			fflush(stdout);
			_exit(bad);
		}
	}
	for (int rank = 0; rank < size; rank++) {
		int status = test_status_of(pid[rank]);

		if (status)
			kc_test_fail(__FILE__, __LINE__, "rank %d of %d ended with %d", rank, size,
				     status);
	}
}
