/*
 * How messages get from rank to rank: what core/ranks.c needs of MPI or of TCP.  A message from
 * one rank to another arrives in the first receive that was posted with its tag.  A library
 * that is loaded later implements this, so nothing here calls into the program: errors are
 * texts in the transport.
 */
#ifndef KC_CORE_TRANSPORT_H
#define KC_CORE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kc_message {
	void *data;
	size_t bytes;                   /* the receiver knows how many */
	int peer, tag;                  /* tag: 0 to 32767 */
	bool sends, done;
	/* The transport's own. */
	struct kc_message *next;
	size_t moved;
	uint64_t request;
};

struct kc_transport {
	int rank, size, local_rank, local_size;
	bool ending;                    /* other ranks may close before this one */
	void *own;
	char error[512];
	/* Starts a message, which stays where it is until it is done.  -1: see error. */
	int (*post)(struct kc_transport *, struct kc_message *);
	/*
	 * Moves what can be moved without waiting and marks what is done.  -1: a rank failed or is
	 * gone; error says which.
	 */
	int (*progress)(struct kc_transport *);
	/* Sends a text to every other rank, whose progress then fails with it. */
	void (*tell)(struct kc_transport *, const char *text);
	/*
	 * Ends it.  orderly: every rank does, and no message is under way.  Otherwise the others
	 * are given a few seconds to end as well.
	 */
	void (*close)(struct kc_transport *, bool orderly);
};

enum { KC_TAGS = 32768 };

/* core/tcp.c: needs RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.  0, or a negative kc_err. */
int kc_tcp_open(struct kc_transport *);

/*
 * core/mpi/mpi.c, in libkc_mpi.so, found there by this name.  size is that of struct kc_transport
 * as the program knows it.  0, or -1 with an error.
 */
int kc_mpi_open(struct kc_transport *, size_t size);

#endif
