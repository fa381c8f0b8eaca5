/*
 * Messages between ranks over TCP: one connection for each pair, made at MASTER_ADDR:MASTER_PORT.
 * A frame is a head and its bytes; frames of one connection come in the order in which they
 * were sent.  One for which no receive is posted yet stays in the kernel's buffers, and so does
 * what follows it: ranks make the same calls, so the receive will come.
 */
#include "core/base.h"
#include "core/meet.h"
#include "core/transport.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	FAREWELL_SECONDS = 5,
	NOTICE = KC_TAGS                /* the tag of a failure's text */
};

struct head {
	uint64_t bytes;
	uint32_t tag, magic;
};
static const uint32_t frame_magic = 0x6b63666d;

struct peer {
	int fd;                         /* -1: closed */
	struct kc_message *out, *in;    /* posted, in order */
	struct head out_head, in_head;
	size_t in_moved;                /* bytes of in_head */
	struct kc_message *taking;      /* the receive that the frame on its way goes to */
	struct kc_message notice;
	char text[400];
};

struct tcp {
	struct peer *peer;
};

static int complain(struct kc_transport *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int complain(struct kc_transport *t, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(t->error, sizeof t->error, fmt, args);
	va_end(args);
	return -1;
}

/* ---- frames ---- */

static struct peer *peer_of(struct kc_transport *t, int rank)
{
	return &((struct tcp *)t->own)->peer[rank];
}

/* Nothing that was said is lost by it: whoever ends without a word is gone. */
static int lost(struct kc_transport *t, int rank, const char *why)
{
	struct peer *p = peer_of(t, rank);

	close(p->fd);
	p->fd = -1;
	if (t->ending && !p->in && !p->out)
		return 0;
	return complain(t, "rank %d is gone: %s", rank, why);
}

static void append(struct kc_message **list, struct kc_message *m)
{
	while (*list)
		list = &(*list)->next;
	m->next = NULL;
	*list = m;
}

static void finish(struct kc_message **list, struct kc_message *m)
{
	while (*list != m)
		list = &(*list)->next;
	*list = m->next;
	m->done = true;
}

/* As much of the first message as the kernel takes; 1: all of it. */
static int send_some(struct kc_transport *t, int rank)
{
	struct peer *p = peer_of(t, rank);
	struct kc_message *m = p->out;
	size_t head = m->moved < sizeof p->out_head ? sizeof p->out_head - m->moved : 0;
	size_t at = head ? 0 : m->moved - sizeof p->out_head;
	struct iovec v[2] = {
		{(char *)&p->out_head + sizeof p->out_head - head, head},
		{(char *)m->data + at, m->bytes - at},
	};
	struct msghdr what = {.msg_iov = v, .msg_iovlen = 2};
	ssize_t n;

	if (!m->moved)
		p->out_head = (struct head){m->bytes, (uint32_t)m->tag, frame_magic};
	n = sendmsg(p->fd, &what, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : lost(t, rank, strerror(errno));
	m->moved += (size_t)n;
	return m->moved == sizeof p->out_head + m->bytes;
}

static int send_all(struct kc_transport *t, int rank)
{
	struct peer *p = peer_of(t, rank);

	while (p->fd >= 0 && p->out) {
		int rc = send_some(t, rank);

		if (rc <= 0)
			return rc;
		finish(&p->out, p->out);
	}
	return 0;
}

/* 1: everything, 0: not yet. */
static int take(struct kc_transport *t, int rank, void *data, size_t bytes, size_t *moved)
{
	struct peer *p = peer_of(t, rank);

	while (*moved < bytes) {
		ssize_t n = recv(p->fd, (char *)data + *moved, bytes - *moved, MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0
								 : lost(t, rank, strerror(errno));
		if (!n)
			return lost(t, rank, "it closed its connection");
		*moved += (size_t)n;
	}
	return 1;
}

/* The receive for the frame whose head has come: 1; 0: none yet. */
static int match(struct kc_transport *t, int rank)
{
	struct peer *p = peer_of(t, rank);
	struct kc_message *m = p->in;

	if (p->in_head.magic != frame_magic)
		return complain(t, "rank %d sends something else than frames", rank);
	if (p->in_head.tag == NOTICE) {
		p->notice = (struct kc_message){
			.data = p->text, .bytes = KC_MIN(p->in_head.bytes, sizeof p->text - 1)};
		p->taking = &p->notice;
		return 1;
	}
	while (m && (uint32_t)m->tag != p->in_head.tag)
		m = m->next;
	if (!m)
		return 0;
	if (m->bytes != p->in_head.bytes)
		return complain(t, "rank %d sends %llu bytes where %zu are expected", rank,
				(unsigned long long)p->in_head.bytes, m->bytes);
	p->taking = m;
	return 1;
}

static int receive_all(struct kc_transport *t, int rank)
{
	struct peer *p = peer_of(t, rank);
	int rc = 1;

	while (p->fd >= 0 && rc > 0) {
		if (!p->taking) {
			rc = take(t, rank, &p->in_head, sizeof p->in_head, &p->in_moved);
			if (rc > 0)
				rc = match(t, rank);
			if (rc <= 0)
				return rc;
		}
		rc = take(t, rank, p->taking->data, p->taking->bytes, &p->taking->moved);
		if (rc <= 0)
			return rc;
		if (p->taking == &p->notice)
			return complain(t, "%s", p->text);
		finish(&p->in, p->taking);
		p->taking = NULL;
		p->in_moved = 0;
	}
	return rc < 0 ? rc : 0;
}

/* Reads first: a rank that failed says why before it closes. */
static int tcp_progress(struct kc_transport *t)
{
	for (int rank = 0; rank < t->size; rank++) {
		if (peer_of(t, rank)->fd < 0)
			continue;
		if (receive_all(t, rank) < 0 || send_all(t, rank) < 0)
			return -1;
	}
	return 0;
}

static int tcp_post(struct kc_transport *t, struct kc_message *m)
{
	struct peer *p = peer_of(t, m->peer);

	m->done = false;
	m->moved = 0;
	if (p->fd < 0)
		return complain(t, "rank %d is gone", m->peer);
	append(m->sends ? &p->out : &p->in, m);
	return 0;
}

/* ---- the end ---- */

/* Behind the frame that is half sent, if there is one; what was not begun is dropped. */
static void tell_one(struct kc_transport *t, int rank, struct kc_message *notice)
{
	struct peer *p = peer_of(t, rank);
	double end = kc_now() + FAREWELL_SECONDS;

	if (p->out && p->out->moved)
		p->out->next = notice;
	else
		p->out = notice;
	while (send_all(t, rank) == 0 && p->out && kc_now() < end)
		poll(&(struct pollfd){.fd = p->fd, .events = POLLOUT}, 1, 100);
	p->out = NULL;
}

static void tcp_tell(struct kc_transport *t, const char *text)
{
	for (int rank = 0; rank < t->size; rank++) {
		struct kc_message notice = {.data = (char *)text, .bytes = strlen(text),
					    .tag = NOTICE, .sends = true};

		if (peer_of(t, rank)->fd >= 0)
			tell_one(t, rank, &notice);
	}
}

/* Until the other side has closed as well, so that it can read what it was told. */
static void say_farewell(int fd, double end)
{
	char rest[4096];
	ssize_t n = 1;

	shutdown(fd, SHUT_WR);
	while (n > 0 && kc_now() < end) {
		if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 100) > 0)
			n = recv(fd, rest, sizeof rest, MSG_DONTWAIT);
	}
}

static void tcp_close(struct kc_transport *t, bool orderly)
{
	struct tcp *own = t->own;
	double end = kc_now() + FAREWELL_SECONDS;

	for (int rank = 0; own->peer && rank < t->size; rank++) {
		if (own->peer[rank].fd < 0)
			continue;
		if (!orderly)
			say_farewell(own->peer[rank].fd, end);
		close(own->peer[rank].fd);
	}
	free(own->peer);
	free(own);
	t->own = NULL;
}

/* ---- opening ---- */

static int read_number(const char *variable, long least, long most, int *out)
{
	const char *text = getenv(variable);
	char *end;
	long n;

	if (!text)
		return KC_FAIL(KC_ECONFIG, "RANK and WORLD_SIZE are set, but not %s", variable);
	n = strtol(text, &end, 10);
	if (!*text || *end || n < least || n > most)
		return KC_FAIL(KC_ECONFIG, "%s: expected a number from %ld to %ld, got '%s'",
			       variable, least, most, text);
	*out = (int)n;
	return 0;
}

/* Whether torchrun itself listens at MASTER_PORT: then the next one is ours. */
static bool port_is_taken(void)
{
	const char *store = getenv("TORCHELASTIC_USE_AGENT_STORE");

	return store && !strcmp(store, "True");
}

static int read_variables(struct kc_transport *t, int *port)
{
	KC_TRY(read_number("WORLD_SIZE", 2, 4096, &t->size));
	KC_TRY(read_number("RANK", 0, t->size - 1, &t->rank));
	KC_TRY(read_number("MASTER_PORT", 1, 65534, port));
	*port += port_is_taken();
	t->local_rank = t->rank;
	t->local_size = 1;
	if (getenv("LOCAL_RANK"))
		KC_TRY(read_number("LOCAL_RANK", 0, t->size - 1, &t->local_rank));
	if (getenv("LOCAL_WORLD_SIZE"))
		KC_TRY(read_number("LOCAL_WORLD_SIZE", 1, t->size, &t->local_size));
	return getenv("MASTER_ADDR") ? 0 : KC_FAIL(KC_ECONFIG, "MASTER_ADDR is not set");
}

static int make_peers(struct kc_transport *t, const int *fd)
{
	struct tcp *own = kc_calloc(1, sizeof *own);

	t->own = own;
	if (own)
		own->peer = kc_calloc((size_t)t->size, sizeof *own->peer);
	if (!own || !own->peer)
		return KC_ENOMEM;
	for (int rank = 0; rank < t->size; rank++)
		own->peer[rank].fd = fd[rank];
	t->post = tcp_post;
	t->progress = tcp_progress;
	t->tell = tcp_tell;
	t->close = tcp_close;
	return 0;
}

int kc_tcp_open(struct kc_transport *t)
{
	char text[16];
	int port, rc, *fd;

	KC_TRY(read_variables(t, &port));
	snprintf(text, sizeof text, "%d", port);
	fd = kc_calloc((size_t)t->size, sizeof *fd);
	if (!fd)
		return KC_ENOMEM;
	rc = kc_meet(t->rank, t->size, getenv("MASTER_ADDR"), text, fd);
	if (rc < 0)
		goto out;
	rc = make_peers(t, fd);
	if (rc < 0) {
		free(t->own);
		for (int rank = 0; rank < t->size; rank++)
			if (fd[rank] >= 0)
				close(fd[rank]);
	}
out:
	free(fd);
	return rc;
}
