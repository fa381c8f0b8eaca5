/*
 * libkc_mpi.so: messages between ranks over MPI.  A library of its own, so that the programs need
 * no MPI; it calls nothing of theirs.  MPI ends the job when a process dies; what a rank that
 * fails has to say goes through a communicator of its own, and so does its farewell, an
 * empty notice.
 */
#include "core/transport.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Static_assert(sizeof(MPI_Request) <= sizeof(uint64_t), "a request fits into a message");

enum { FAREWELL_SECONDS = 5 };

struct mpi {
	MPI_Comm messages, notices;
	struct kc_message *active;
	char *left;                     /* per rank: it said farewell */
};

static int complain(struct kc_transport *t, const char *what, int code)
{
	char text[MPI_MAX_ERROR_STRING] = "";
	int n;

	MPI_Error_string(code, text, &n);
	snprintf(t->error, sizeof t->error, "%s: %.300s", what, text);
	return -1;
}

static int mpi_post(struct kc_transport *t, struct kc_message *m)
{
	struct mpi *own = t->own;
	MPI_Request request;
	int rc;

	if (m->bytes > INT32_MAX) {
		snprintf(t->error, sizeof t->error, "a message of %zu bytes is too large",
			 m->bytes);
		return -1;
	}
	m->done = false;
	rc = m->sends ? MPI_Isend(m->data, (int)m->bytes, MPI_BYTE, m->peer, m->tag, own->messages,
				  &request)
		      : MPI_Irecv(m->data, (int)m->bytes, MPI_BYTE, m->peer, m->tag, own->messages,
				  &request);
	if (rc != MPI_SUCCESS)
		return complain(t, "cannot start a message", rc);
	memcpy(&m->request, &request, sizeof request);
	m->next = own->active;
	own->active = m;
	return 0;
}

static int test(struct kc_transport *t, struct kc_message *m)
{
	MPI_Request request;
	MPI_Status status;
	int done, n, rc;

	memcpy(&request, &m->request, sizeof request);
	rc = MPI_Test(&request, &done, &status);
	memcpy(&m->request, &request, sizeof request);
	if (rc != MPI_SUCCESS)
		return complain(t, m->sends ? "sending" : "receiving", rc);
	m->done = done;
	if (!done || m->sends)
		return 0;
	MPI_Get_count(&status, MPI_BYTE, &n);
	if ((size_t)n == m->bytes)
		return 0;
	snprintf(t->error, sizeof t->error, "rank %d sends %d bytes where %zu are expected",
		 m->peer, n, m->bytes);
	return -1;
}

/* -1: a rank told of its failure. */
static int read_notices(struct kc_transport *t)
{
	struct mpi *own = t->own;
	MPI_Status status;
	int there, n;

	for (;;) {
		MPI_Iprobe(MPI_ANY_SOURCE, 0, own->notices, &there, &status);
		if (!there)
			return 0;
		MPI_Get_count(&status, MPI_BYTE, &n);
		if (n < 0 || (size_t)n >= sizeof t->error)
			n = 0;
		MPI_Recv(t->error, n, MPI_BYTE, status.MPI_SOURCE, 0, own->notices,
			 MPI_STATUS_IGNORE);
		t->error[n] = '\0';
		if (n)
			return -1;
		own->left[status.MPI_SOURCE] = 1;
	}
}

static int mpi_progress(struct kc_transport *t)
{
	struct mpi *own = t->own;
	struct kc_message **at = &own->active;

	if (read_notices(t) < 0)
		return -1;
	while (*at) {
		struct kc_message *m = *at;

		if (test(t, m) < 0)
			return -1;
		if (m->done)
			*at = m->next;
		else
			at = &m->next;
	}
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void mpi_tell(struct kc_transport *t, const char *text)
{
	struct mpi *own = t->own;

	for (int rank = 0; rank < t->size; rank++) {
		double end = now() + FAREWELL_SECONDS;
		MPI_Request request;
		int done = 0;

		if (rank == t->rank)
			continue;
		MPI_Isend(text, (int)strlen(text), MPI_BYTE, rank, 0, own->notices, &request);
		while (!done && now() < end)
			MPI_Test(&request, &done, MPI_STATUS_IGNORE);
	}
}

static int all_left(const struct kc_transport *t)
{
	const struct mpi *own = t->own;

	for (int rank = 0; rank < t->size; rank++)
		if (rank != t->rank && !own->left[rank])
			return 0;
	return 1;
}

/*
 * Messages are still under way when a rank has failed, and MPI_Finalize could wait for them for
 * ever: the process then ends without it, when the others have come as far.
 */
static void mpi_close(struct kc_transport *t, bool orderly)
{
	struct mpi *own = t->own;
	double end = now() + FAREWELL_SECONDS;

	if (orderly) {
		MPI_Comm_free(&own->messages);
		MPI_Comm_free(&own->notices);
		MPI_Finalize();
	} else {
		mpi_tell(t, "");
		while (!all_left(t) && now() < end)
			read_notices(t);
	}
	free(own->left);
	free(own);
	t->own = NULL;
}

static void read_places(struct kc_transport *t)
{
	MPI_Comm machine;

	MPI_Comm_rank(MPI_COMM_WORLD, &t->rank);
	MPI_Comm_size(MPI_COMM_WORLD, &t->size);
	MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, t->rank, MPI_INFO_NULL, &machine);
	MPI_Comm_rank(machine, &t->local_rank);
	MPI_Comm_size(machine, &t->local_size);
	MPI_Comm_free(&machine);
}

__attribute__((visibility("default"))) int kc_mpi_open(struct kc_transport *t, size_t size)
{
	struct mpi *own;
	int level, rc;

	if (size != sizeof *t) {
		snprintf(t->error, sizeof t->error, "libkc_mpi.so belongs to another build");
		return -1;
	}
	rc = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level);
	if (rc != MPI_SUCCESS)
		return complain(t, "cannot start", rc);
	MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
	read_places(t);
	own = calloc(1, sizeof *own);
	if (own)
		own->left = calloc((size_t)t->size, 1);
	if (!own || !own->left) {
		free(own);
		snprintf(t->error, sizeof t->error, "out of memory");
		return -1;
	}
	MPI_Comm_dup(MPI_COMM_WORLD, &own->messages);
	MPI_Comm_dup(MPI_COMM_WORLD, &own->notices);
	t->own = own;
	t->post = mpi_post;
	t->progress = mpi_progress;
	t->tell = mpi_tell;
	t->close = mpi_close;
	return 0;
}
