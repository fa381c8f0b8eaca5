/*
 * Messages between ranks over TCP: one connection for each pair.  Rank 0 listens at
 * MASTER_ADDR:MASTER_PORT, hears from every rank where it listens, and tells all of them.
 * A frame is a head and its bytes; frames of one connection come in the order in which they
 * were sent.  One for which no receive is posted yet stays in the kernel's buffers, and so does
 * what follows it: ranks make the same calls, so the receive will come.
 */
#include "core/base.h"
#include "core/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MEETING_SECONDS = 60,
	SILENT_SECONDS = 30,            /* a machine that answers no more is given up */
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
	return m->sends ? send_all(t, m->peer) : 0;
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

/* ---- meeting ---- */

/* What a rank says first on every connection. */
struct hello {
	char magic[8];
	int32_t rank, size;
	uint16_t port;                  /* where it listens */
	char zero[6];
};
static const char hello_magic[8] = "kcranks1";

/* All of it, or an error; not for longer than until `end`. */
static int transfer(int fd, bool sends, void *data, size_t bytes, double end)
{
	size_t moved = 0;

	while (moved < bytes) {
		struct pollfd p = {.fd = fd, .events = sends ? POLLOUT : POLLIN};
		char *at = (char *)data + moved;
		ssize_t n;

		if (kc_now() > end)
			return KC_FAIL(KC_EBACKEND, "no answer within %d s", MEETING_SECONDS);
		if (poll(&p, 1, 200) <= 0)
			continue;
		n = sends ? send(fd, at, bytes - moved, MSG_NOSIGNAL | MSG_DONTWAIT)
			  : recv(fd, at, bytes - moved, MSG_DONTWAIT);
		if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
			return KC_FAIL(KC_EBACKEND, "%s",
				       n ? strerror(errno) : "the connection was closed");
		moved += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* A dead machine is noticed, small messages leave at once. */
static void set_options(int fd)
{
	const int one = 1, idle = SILENT_SECONDS / 3, every = SILENT_SECONDS / 6, count = 4;
	const unsigned silent = SILENT_SECONDS * 1000;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent, sizeof silent);
}

static void set_port(struct sockaddr_storage *a, in_port_t port)
{
	if (a->ss_family == AF_INET6)
		((struct sockaddr_in6 *)a)->sin6_port = port;
	else
		((struct sockaddr_in *)a)->sin_port = port;
}

static in_port_t port_of(int fd)
{
	struct sockaddr_storage a = {0};
	socklen_t n = sizeof a;

	getsockname(fd, (struct sockaddr *)&a, &n);
	return a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
				       : ((struct sockaddr_in *)&a)->sin_port;
}

static socklen_t length_of(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* Port "0": any.  Both families where the machine has them. */
static int listen_at(const char *port, int *out)
{
	const int families[] = {AF_INET6, AF_INET}, one = 1, zero = 0;
	const in_port_t at = htons((uint16_t)strtol(port, NULL, 10));
	int fd = -1;

	for (size_t i = 0; i < KC_COUNT(families); i++) {
		struct sockaddr_storage any = {.ss_family = (sa_family_t)families[i]};

		fd = socket(families[i], SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		set_port(&any, at);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		if (families[i] == AF_INET6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
		if (!bind(fd, (struct sockaddr *)&any, length_of(&any)) && !listen(fd, 128)) {
			*out = fd;
			return 0;
		}
		close(fd);
	}
	return KC_FAIL(KC_EBACKEND, "cannot listen at port %s: %s", port, strerror(errno));
}

/* The other side may not be there yet. */
static int connect_to(const struct sockaddr *a, socklen_t n, double end, int *out)
{
	for (;;) {
		int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

		set_options(fd);
		if (fd >= 0 && !connect(fd, a, n)) {
			*out = fd;
			return 0;
		}
		error = errno;
		if (fd >= 0)
			close(fd);
		if (kc_now() > end)
			return KC_FAIL(KC_EBACKEND, "%s, for %d s", strerror(error),
				       MEETING_SECONDS);
		poll(NULL, 0, 50);
	}
}

static int call(const struct sockaddr *a, socklen_t n, const struct hello *h, double end, int *fd)
{
	struct hello mine = *h;

	KC_TRY(connect_to(a, n, end, fd));
	return transfer(*fd, true, &mine, sizeof mine, end);
}

static int call_master(const char *host, const char *port, const struct hello *h, double end,
		       int *fd)
{
	const struct addrinfo want = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	int error = getaddrinfo(host, port, &want, &found), rc;

	if (error)
		return KC_FAIL(KC_EBACKEND, "%s", gai_strerror(error));
	/* A name may stand for addresses of both families, of which one answers. */
	for (struct addrinfo *a = found;; a = a->ai_next) {
		rc = call(a->ai_addr, a->ai_addrlen, h, a->ai_next ? kc_now() : end, fd);
		if (!rc || (!a->ai_next && kc_now() > end))
			break;
		if (!a->ai_next)
			a = found;
	}
	freeaddrinfo(found);
	return rc;
}

/* One connection and what it says; a stranger is sent away: *fd is -1 then. */
static int answer(int listener, struct hello *h, double end, int *fd)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};

	*fd = -1;
	if (poll(&p, 1, 200) <= 0)
		return 0;
	*fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (*fd < 0)
		return 0;
	set_options(*fd);
	if (transfer(*fd, false, h, sizeof *h, KC_MIN(end, kc_now() + 5)) < 0 ||
	    memcmp(h->magic, hello_magic, sizeof h->magic)) {
		close(*fd);
		*fd = -1;
	}
	return 0;
}

static int check_hello(struct kc_transport *t, const struct hello *h, int first)
{
	if (h->size != t->size)
		return KC_FAIL(KC_ECONFIG,
			       "rank %d was started with WORLD_SIZE %d, rank %d with %d",
			       h->rank, h->size, t->rank, t->size);
	if (h->rank < first || h->rank >= t->size || peer_of(t, h->rank)->fd >= 0)
		return KC_FAIL(KC_ECONFIG, "two processes are rank %d", h->rank);
	return 0;
}

/* Waits for the calls of the ranks from `first` on; where they listen goes into address. */
static int answer_all(struct kc_transport *t, int listener, int first, double end,
		      struct sockaddr_storage *address)
{
	int missing = t->size - first;

	while (missing > 0) {
		struct hello h;
		int fd;

		if (kc_now() > end)
			return KC_FAIL(KC_EBACKEND, "%d of %d ranks did not come within %d s",
				       missing, t->size, MEETING_SECONDS);
		KC_TRY(answer(listener, &h, end, &fd));
		if (fd < 0)
			continue;
		if (check_hello(t, &h, first) < 0) {
			close(fd);
			return KC_ECONFIG;
		}
		peer_of(t, h.rank)->fd = fd;
		missing--;
		if (address) {
			socklen_t n = sizeof *address;

			getpeername(fd, (struct sockaddr *)&address[h.rank], &n);
			set_port(&address[h.rank], h.port);
		}
	}
	return 0;
}

struct meeting {
	const char *host, *port;
	double end;
	int listener;
	struct sockaddr_storage *address;       /* where each rank listens */
};

/* Rank 0: everybody calls, then gets the list. */
static int host(struct kc_transport *t, struct meeting *m)
{
	KC_TRY(listen_at(m->port, &m->listener));
	KC_TRY(answer_all(t, m->listener, 1, m->end, m->address));
	for (int rank = 1; rank < t->size; rank++)
		KC_TRY(transfer(peer_of(t, rank)->fd, true, m->address,
				(size_t)t->size * sizeof *m->address, m->end));
	return 0;
}

/* The others call rank 0, then each calls those of lower rank. */
static int join(struct kc_transport *t, struct meeting *m)
{
	struct hello h = {.rank = t->rank, .size = t->size};

	memcpy(h.magic, hello_magic, sizeof h.magic);
	KC_TRY(listen_at("0", &m->listener));
	h.port = port_of(m->listener);
	KC_TRY(call_master(m->host, m->port, &h, m->end, &peer_of(t, 0)->fd));
	KC_TRY(transfer(peer_of(t, 0)->fd, false, m->address,
			(size_t)t->size * sizeof *m->address, m->end));
	for (int rank = 1; rank < t->rank; rank++)
		KC_TRY(call((struct sockaddr *)&m->address[rank], length_of(&m->address[rank]), &h,
			    m->end, &peer_of(t, rank)->fd));
	return answer_all(t, m->listener, t->rank + 1, m->end, NULL);
}

static int meet(struct kc_transport *t, const char *host_name, const char *port)
{
	struct meeting m = {host_name, port, kc_now() + MEETING_SECONDS, -1,
			    kc_calloc((size_t)t->size, sizeof *m.address)};
	int rc = KC_ENOMEM;

	if (m.address)
		rc = t->rank ? join(t, &m) : host(t, &m);
	if (m.listener >= 0)
		close(m.listener);
	free(m.address);
	return rc < 0 ? kc_cause(rc, "meeting of the ranks at %s:%s", host_name, port) : 0;
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

int kc_tcp_open(struct kc_transport *t)
{
	struct tcp *own;
	char text[16];
	int port, rc;

	KC_TRY(read_variables(t, &port));
	own = kc_calloc(1, sizeof *own);
	if (!own)
		return KC_ENOMEM;
	t->own = own;
	t->post = tcp_post;
	t->progress = tcp_progress;
	t->tell = tcp_tell;
	t->close = tcp_close;
	own->peer = kc_calloc((size_t)t->size, sizeof *own->peer);
	rc = own->peer ? 0 : KC_ENOMEM;
	for (int rank = 0; !rc && rank < t->size; rank++)
		own->peer[rank].fd = -1;
	snprintf(text, sizeof text, "%d", port);
	if (!rc)
		rc = meet(t, getenv("MASTER_ADDR"), text);
	if (rc < 0)
		tcp_close(t, true);
	return rc;
}
