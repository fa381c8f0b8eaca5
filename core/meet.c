#include "core/meet.h"

#include "core/base.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MEETING_SECONDS = 60,
	SILENT_SECONDS = 30             /* a machine that answers no more is given up */
};

struct meeting {
	int rank, size, *fd;
	const char *host, *port;
	double end;
	int listener;
	struct sockaddr_storage *address;       /* where each rank listens */
};

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

static in_port_t port_of(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_port
					: ((const struct sockaddr_in *)a)->sin_port;
}

static in_port_t own_port(int fd)
{
	struct sockaddr_storage a = {0};
	socklen_t n = sizeof a;

	getsockname(fd, (struct sockaddr *)&a, &n);
	return port_of(&a);
}

/* Who is at the other end; an IPv4 address as such, for machines that know no other. */
static struct sockaddr_storage address_of_peer(int fd)
{
	struct sockaddr_storage a = {0};
	struct sockaddr_in6 wide;
	socklen_t n = sizeof a;

	getpeername(fd, (struct sockaddr *)&a, &n);
	memcpy(&wide, &a, sizeof wide);
	if (a.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&wide.sin6_addr)) {
		struct sockaddr_in narrow = {.sin_family = AF_INET, .sin_port = wide.sin6_port};

		memcpy(&narrow.sin_addr, &wide.sin6_addr.s6_addr[12], sizeof narrow.sin_addr);
		memset(&a, 0, sizeof a);
		memcpy(&a, &narrow, sizeof narrow);
	}
	return a;
}

static bool is_loopback(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
	return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
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

/* One attempt; *fd is -1 when it fails. */
static int try_call(const struct sockaddr *a, socklen_t n, const struct hello *h, double end,
		    int *fd)
{
	struct hello mine = *h;
	int rc;

	*fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	set_options(*fd);
	if (*fd < 0 || connect(*fd, a, n) < 0)
		rc = KC_FAIL(KC_EBACKEND, "%s", strerror(errno));
	else
		rc = transfer(*fd, true, &mine, sizeof mine, end);
	if (rc < 0 && *fd >= 0)
		close(*fd);
	if (rc < 0)
		*fd = -1;
	return rc;
}

/* The other side may not be there yet. */
static bool try_again(int rc, double end)
{
	if (!rc || kc_now() > end)
		return false;
	poll(NULL, 0, 50);
	return true;
}

static int call(const struct sockaddr_storage *a, const struct hello *h, double end, int *fd)
{
	int rc;

	do
		rc = try_call((const struct sockaddr *)a, length_of(a), h, end, fd);
	while (try_again(rc, end));
	return rc;
}

/* A name may stand for addresses of both families, of which one answers. */
static int call_master(const struct meeting *m, const struct hello *h, int *fd)
{
	const struct addrinfo want = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	int error = getaddrinfo(m->host, m->port, &want, &found), rc;

	if (error)
		return KC_FAIL(KC_EBACKEND, "%s", gai_strerror(error));
	do {
		rc = -1;
		for (struct addrinfo *a = found; a && rc < 0; a = a->ai_next)
			rc = try_call(a->ai_addr, a->ai_addrlen, h, m->end, fd);
	} while (try_again(rc, m->end));
	freeaddrinfo(found);
	return rc < 0 ? kc_cause(rc, "rank 0 did not answer within %d s", MEETING_SECONDS) : 0;
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

static int check_hello(const struct meeting *m, const struct hello *h, int first)
{
	if (h->size != m->size)
		return KC_FAIL(KC_ECONFIG,
			       "rank %d was started with WORLD_SIZE %d, rank %d with %d",
			       h->rank, h->size, m->rank, m->size);
	if (h->rank < first || h->rank >= m->size || m->fd[h->rank] >= 0)
		return KC_FAIL(KC_ECONFIG, "two processes are rank %d", h->rank);
	return 0;
}

/* Waits for the calls of the ranks from `first` on, and notes where they listen. */
static int answer_all(struct meeting *m, int first)
{
	int missing = m->size - first;

	while (missing > 0) {
		struct hello h;
		int fd;

		if (kc_now() > m->end)
			return KC_FAIL(KC_EBACKEND, "%d of %d ranks did not come within %d s",
				       missing, m->size, MEETING_SECONDS);
		KC_TRY(answer(m->listener, &h, m->end, &fd));
		if (fd < 0)
			continue;
		if (check_hello(m, &h, first) < 0) {
			close(fd);
			return KC_ECONFIG;
		}
		m->fd[h.rank] = fd;
		missing--;
		m->address[h.rank] = address_of_peer(fd);
		set_port(&m->address[h.rank], h.port);
	}
	return 0;
}

/* Rank 0: everybody calls, then gets the list. */
static int host(struct meeting *m)
{
	KC_TRY(listen_at(m->port, &m->listener));
	KC_TRY(answer_all(m, 1));
	for (int rank = 1; rank < m->size; rank++)
		KC_TRY(transfer(m->fd[rank], true, m->address,
				(size_t)m->size * sizeof *m->address, m->end));
	return 0;
}

/* The others call rank 0, then each calls those of lower rank. */
static int join(struct meeting *m)
{
	struct hello h = {.rank = m->rank, .size = m->size};

	memcpy(h.magic, hello_magic, sizeof h.magic);
	KC_TRY(listen_at("0", &m->listener));
	h.port = own_port(m->listener);
	KC_TRY(call_master(m, &h, &m->fd[0]));
	KC_TRY(transfer(m->fd[0], false, m->address, (size_t)m->size * sizeof *m->address,
			m->end));
	for (int rank = 1; rank < m->rank; rank++) {
		struct sockaddr_storage a = m->address[rank];

		/* It called rank 0 from the same machine: that is where it is. */
		if (is_loopback(&a)) {
			a = address_of_peer(m->fd[0]);
			set_port(&a, port_of(&m->address[rank]));
		}
		KC_TRY(call(&a, &h, m->end, &m->fd[rank]));
	}
	return answer_all(m, m->rank + 1);
}

int kc_meet(int rank, int size, const char *host_name, const char *port, int *fd)
{
	struct meeting m = {.rank = rank, .size = size, .fd = fd, .host = host_name, .port = port,
			    .end = kc_now() + MEETING_SECONDS, .listener = -1};
	int rc = KC_ENOMEM;

	for (int i = 0; i < size; i++)
		fd[i] = -1;
	m.address = kc_calloc((size_t)size, sizeof *m.address);
	if (m.address)
		rc = rank ? join(&m) : host(&m);
	if (m.listener >= 0)
		close(m.listener);
	free(m.address);
	for (int i = 0; rc < 0 && i < size; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	return rc < 0 ? kc_cause(rc, "meeting of the ranks at %s:%s", host_name, port) : 0;
}
