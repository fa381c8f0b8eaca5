#include "core/ranks.h"

#include "core/plugin.h"
#include "core/transport.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TAG_SYNC, TAG_MEAN /* and on: two for each channel */ };
enum { TEXT = 400, PIECE = 1 << 20 };

/* ---- opening ---- */

void kc_ranks_alone(struct kc_ranks *r)
{
	*r = (struct kc_ranks){.size = 1, .local_size = 1};
}

static int64_t number_of(const char *variable)
{
	const char *text = getenv(variable);

	return text ? strtoll(text, NULL, 10) : 0;
}

/* How many processes mpirun or srun has started; 1 without them. */
static int64_t launched(void)
{
	static const char *const variables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
						"SLURM_STEP_NUM_TASKS"};
	int64_t n = 1;

	for (size_t i = 0; i < KC_COUNT(variables); i++)
		n = KC_MAX(n, number_of(variables[i]));
	return n;
}

static int open_mpi(struct kc_transport *t, int64_t expected)
{
	int (*open)(struct kc_transport *, size_t);
	void *symbol;
	int rc = kc_plugin_symbol("mpi", "kc_mpi_open", &symbol);

	if (rc < 0)
		return kc_cause(rc, "%lld processes were started together", (long long)expected);
	memcpy(&open, &symbol, sizeof open);
	if (open(t, sizeof *t) < 0)
		return KC_FAIL(KC_EBACKEND, "MPI: %s", t->error);
	if (t->size == expected)
		return 0;
	return KC_FAIL(KC_EBACKEND,
		       "the launcher started %lld processes, but MPI knows of %d: libkc_mpi.so was "
		       "built for another MPI, or srun needs --mpi=pmix",
		       (long long)expected, t->size);
}

int kc_ranks_open(struct kc_ranks *r)
{
	bool tcp = getenv("RANK") && number_of("WORLD_SIZE") > 1;
	struct kc_transport *t;
	int rc;

	kc_ranks_alone(r);
	if (!tcp && launched() == 1)
		return 0;
	t = kc_calloc(1, sizeof *t);
	if (!t)
		return KC_ENOMEM;
	rc = tcp ? kc_tcp_open(t) : open_mpi(t, launched());
	if (rc < 0) {
		free(t);
		return rc;
	}
	r->transport = t;
	r->rank = t->rank;
	r->size = t->size;
	r->local_rank = t->local_rank;
	r->local_size = t->local_size;
	return 0;
}

/* ---- failing ---- */

static int again(const struct kc_ranks *r)
{
	return KC_FAIL(KC_EBACKEND, "%s", r->failure);
}

/* The reason is passed on: others would only see that this rank is gone. */
static int fail(struct kc_ranks *r)
{
	r->failed = true;
	snprintf(r->failure, sizeof r->failure, "%s", r->transport->error);
	r->transport->tell(r->transport, r->failure);
	return again(r);
}

int kc_ranks_tell(struct kc_ranks *r, int rc)
{
	char text[TEXT];

	if (!r->transport || rc >= 0 || r->failed || r->agreed)
		return rc;
	r->failed = true;
	snprintf(r->failure, sizeof r->failure, "%s", kc_errmsg());
	snprintf(text, sizeof text, "rank %d: %s", r->rank, kc_errmsg());
	r->transport->tell(r->transport, text);
	return rc;
}

static void free_channels(struct kc_ranks *);

void kc_ranks_close(struct kc_ranks *r, int rc)
{
	kc_ranks_tell(r, rc);
	if (r->transport) {
		r->transport->ending = true;
		r->transport->close(r->transport, !r->failed && kc_ranks_barrier(r) >= 0);
	}
	free_channels(r);
	free(r->transport);
	kc_ranks_alone(r);
}

/* ---- waiting ---- */

/* Spins for as long as an answer of another core takes, then lets others have this one. */
static void pause_a_little(long tries)
{
	const struct timespec t = {.tv_nsec = tries < 1000 ? 50000 : 500000};

	if (tries > 200)
		nanosleep(&t, NULL);
	else if (tries > 50)
		sched_yield();
}

static int progress(struct kc_ranks *r)
{
	if (r->failed)
		return again(r);
	return r->transport->progress(r->transport) < 0 ? fail(r) : 0;
}

static int post(struct kc_ranks *r, struct kc_message *m)
{
	if (r->failed)
		return again(r);
	return r->transport->post(r->transport, m) < 0 ? fail(r) : 0;
}

static int wait_for(struct kc_ranks *r, const struct kc_message *m, int n)
{
	for (long tries = 0;; tries++) {
		int done = 0;

		KC_TRY(progress(r));
		while (done < n && m[done].done)
			done++;
		if (done == n)
			return 0;
		pause_a_little(tries);
	}
}

static int exchange(struct kc_ranks *r, int peer, bool sends, void *data, size_t bytes)
{
	struct kc_message m = {
		.data = data, .bytes = bytes, .peer = peer, .tag = TAG_SYNC, .sends = sends};

	KC_TRY(post(r, &m));
	return wait_for(r, &m, 1);
}

/* ---- small things, by way of rank 0 ---- */

/* all: size times bytes, on rank 0. */
static int collect(struct kc_ranks *r, const void *mine, size_t bytes, void *all)
{
	if (r->rank)
		return exchange(r, 0, true, (void *)mine, bytes);
	memcpy(all, mine, bytes);
	for (int peer = 1; peer < r->size; peer++)
		KC_TRY(exchange(r, peer, false, (char *)all + (size_t)peer * bytes, bytes));
	return 0;
}

/* From each rank to the next, in pieces, so that all of them are busy at once. */
int kc_ranks_broadcast(struct kc_ranks *r, void *data, size_t bytes)
{
	struct kc_message out = {.done = true};

	if (r->size == 1)
		return 0;
	for (size_t at = 0; at < bytes; at += PIECE) {
		size_t n = KC_MIN(bytes - at, (size_t)PIECE);

		if (r->rank)
			KC_TRY(exchange(r, r->rank - 1, false, (char *)data + at, n));
		KC_TRY(wait_for(r, &out, 1));
		if (r->rank + 1 == r->size)
			continue;
		out = (struct kc_message){.data = (char *)data + at, .bytes = n,
					  .peer = r->rank + 1, .tag = TAG_SYNC, .sends = true};
		KC_TRY(post(r, &out));
	}
	return wait_for(r, &out, 1);
}

int kc_ranks_barrier(struct kc_ranks *r)
{
	double none = 0;

	return kc_ranks_sum(r, &none, 1);
}

static int reduce(struct kc_ranks *r, double *x, size_t n, bool largest)
{
	double *all;
	int rc;

	if (r->size == 1)
		return 0;
	all = kc_calloc(n * (size_t)r->size, sizeof *all);
	if (!all)
		return KC_ENOMEM;
	rc = collect(r, x, n * sizeof *x, all);
	for (size_t i = 0; !rc && !r->rank && i < n; i++)
		for (int peer = 1; peer < r->size; peer++) {
			double y = all[(size_t)peer * n + i];

			x[i] = largest ? KC_MAX(x[i], y) : x[i] + y;
		}
	free(all);
	KC_TRY(rc);
	return kc_ranks_broadcast(r, x, n * sizeof *x);
}

int kc_ranks_sum(struct kc_ranks *r, double *x, size_t n)
{
	return reduce(r, x, n, false);
}

int kc_ranks_max(struct kc_ranks *r, double *x, size_t n)
{
	return reduce(r, x, n, true);
}

/* On rank 0, which has the lengths with the terminating zeros. */
static int take_texts(struct kc_ranks *r, const char *text, const uint64_t *length, char **all)
{
	size_t total = 1, at = length[0] - 1;
	char *out;

	for (int peer = 0; peer < r->size; peer++)
		total += length[peer];
	out = kc_calloc(total, 1);
	if (!out)
		return KC_ENOMEM;
	*all = out;
	memcpy(out, text, at);
	for (int peer = 1; peer < r->size; peer++) {
		KC_TRY(exchange(r, peer, false, out + at, length[peer]));
		at += length[peer] - 1;
	}
	return 0;
}

int kc_ranks_gather(struct kc_ranks *r, const char *text, char **all)
{
	uint64_t mine = strlen(text) + 1, *length;
	int rc;

	*all = NULL;
	length = kc_calloc((size_t)r->size, sizeof *length);
	if (!length)
		return KC_ENOMEM;
	rc = r->size > 1 ? collect(r, &mine, sizeof mine, length) : 0;
	length[0] = r->rank ? 0 : mine;
	if (!rc)
		rc = r->rank ? exchange(r, 0, true, (void *)text, mine)
			     : take_texts(r, text, length, all);
	free(length);
	if (rc < 0) {
		free(*all);
		*all = NULL;
	}
	return rc;
}

/* How one rank fares. */
struct outcome {
	int64_t rc, rank;
	char text[TEXT];
};

static int first_failure(struct kc_ranks *r, struct outcome *o)
{
	struct outcome *all = kc_calloc((size_t)r->size, sizeof *all);
	int rc;

	if (!all)
		return KC_ENOMEM;
	rc = collect(r, o, sizeof *o, all);
	for (int peer = r->size - 1; !rc && !r->rank && peer >= 0; peer--)
		if (all[peer].rc < 0)
			*o = all[peer];
	free(all);
	KC_TRY(rc);
	return kc_ranks_broadcast(r, o, sizeof *o);
}

int kc_ranks_agree(struct kc_ranks *r, int rc)
{
	struct outcome o = {.rc = KC_MIN(rc, 0), .rank = r->rank};

	if (r->size == 1 || r->failed)
		return r->failed && rc >= 0 ? again(r) : KC_MIN(rc, 0);
	if (rc < 0 && r->passing)
		return rc;
	if (rc < 0)
		snprintf(o.text, sizeof o.text, "%s", kc_errmsg());
	KC_TRY(first_failure(r, &o));
	r->passing = o.rc < 0;
	if (!r->passing)
		return 0;
	r->agreed = true;
	if (rc < 0)
		return rc;
	return KC_FAIL((int)o.rc, "rank %lld: %s", (long long)o.rank, o.text);
}

/* Where the line with the first different byte begins. */
static size_t different_line(const char *x, const char *y)
{
	size_t line = 0;

	for (size_t i = 0; x[i] && x[i] == y[i]; i++)
		if (x[i] == '\n')
			line = i + 1;
	return line;
}

int kc_ranks_compare(struct kc_ranks *r, const char *what, const char *text)
{
	uint64_t n = strlen(text) + 1;
	char *first;
	int rc;

	KC_TRY(kc_ranks_broadcast(r, &n, sizeof n));
	first = kc_calloc(n, 1);
	if (!first)
		return KC_ENOMEM;
	if (!r->rank)
		memcpy(first, text, n);
	rc = kc_ranks_broadcast(r, first, n);
	if (!rc && strcmp(first, text)) {
		const char *there = first + different_line(first, text);
		const char *here = text + different_line(first, text);

		rc = KC_FAIL(KC_ECONFIG,
			     "the %s are not those of rank 0: '%.*s' there, '%.*s' here", what,
			     (int)KC_MIN(strcspn(there, "\n"), (size_t)150), there,
			     (int)KC_MIN(strcspn(here, "\n"), (size_t)150), here);
	}
	free(first);
	return kc_ranks_agree(r, rc);
}

/* ---- means of large arrays ---- */

enum phase { IDLE, PARTS, MEANS };

struct kc_channel {
	enum phase phase;
	enum kc_dtype dtype;
	char *x, *scratch;
	size_t n, share;                /* elements; of one rank at most */
	struct kc_message *message;     /* 2 (size - 1) */
	int n_messages;
};

void kc_ranks_keep_channels(struct kc_ranks *r, int n)
{
	for (; r->n_channels > n; r->n_channels--)
		free(r->channel[r->n_channels - 1].message);
}

static void free_channels(struct kc_ranks *r)
{
	kc_ranks_keep_channels(r, 0);
	free(r->channel);
}

int kc_ranks_channel(struct kc_ranks *r)
{
	int c = r->n_channels;
	struct kc_channel *grown;

	if (TAG_MEAN + 2 * c + 1 >= KC_TAGS)
		return KC_FAIL(KC_ENOSUP, "more than %d arrays to be summed over ranks", c);
	grown = kc_realloc(r->channel, (size_t)c + 1, sizeof *grown);
	if (!grown)
		return KC_ENOMEM;
	r->channel = grown;
	grown[c] = (struct kc_channel){
		.message = kc_calloc(2 * (size_t)r->size, sizeof(struct kc_message))};
	if (!grown[c].message)
		return KC_ENOMEM;
	r->n_channels++;
	return c;
}

/* Elements of a share: whole cache lines. */
static size_t share_of(const struct kc_ranks *r, size_t n)
{
	return ((n + (size_t)r->size - 1) / (size_t)r->size + 15) & ~(size_t)15;
}

size_t kc_mean_scratch(const struct kc_ranks *r, size_t n)
{
	return r->size > 1 && !r->by_device ? share_of(r, n) * (size_t)(r->size - 1) : 1;
}

static size_t share_size(const struct kc_channel *c, int rank)
{
	size_t first = c->share * (size_t)rank;

	return first < c->n ? KC_MIN(c->share, c->n - first) : 0;
}

static void *share_at(const struct kc_channel *c, int rank)
{
	return c->x + c->share * (size_t)rank * kc_dtype_size(c->dtype);
}

/* Where this rank's share, as another one has it, is received. */
static void *part_at(const struct kc_ranks *r, const struct kc_channel *c, int peer)
{
	size_t place = (size_t)(peer < r->rank ? peer : peer - 1);

	return c->scratch + place * c->share * kc_dtype_size(c->dtype);
}

static int add_message(struct kc_ranks *r, struct kc_channel *c, const struct kc_message *like,
		       size_t elements)
{
	struct kc_message *m = &c->message[c->n_messages];

	if (!elements)
		return 0;
	*m = *like;
	m->bytes = elements * kc_dtype_size(c->dtype);
	c->n_messages++;
	return post(r, m);
}

/* What every pair of ranks has to say to each other in this phase. */
static int start_phase(struct kc_ranks *r, struct kc_channel *c, enum phase phase)
{
	size_t mine = share_size(c, r->rank);
	int tag = TAG_MEAN + 2 * (int)(c - r->channel) + (phase == MEANS);

	c->phase = phase;
	c->n_messages = 0;
	for (int peer = 0; peer < r->size; peer++) {
		bool parts = phase == PARTS;
		struct kc_message in = {.data = parts ? part_at(r, c, peer) : share_at(c, peer),
					.peer = peer, .tag = tag};
		struct kc_message out = {.data = share_at(c, parts ? peer : r->rank),
					 .peer = peer, .tag = tag, .sends = true};

		if (peer == r->rank)
			continue;
		KC_TRY(add_message(r, c, &in, parts ? mine : share_size(c, peer)));
		KC_TRY(add_message(r, c, &out, parts ? share_size(c, peer) : mine));
	}
	return 0;
}

#define MEAN_OF_SHARE(name, real) \
	static void name(const struct kc_ranks *r, const struct kc_channel *c) \
	{ \
		enum { BLOCK = 512 }; \
		real *mine = share_at(c, r->rank); \
		size_t n = share_size(c, r->rank); \
\
		for (size_t first = 0; first < n; first += BLOCK) { \
			size_t m = KC_MIN(n - first, (size_t)BLOCK); \
			double sum[BLOCK] = {0}; \
\
			for (int peer = 0; peer < r->size; peer++) { \
				const real *x = peer == r->rank ? mine : part_at(r, c, peer); \
\
				for (size_t i = 0; i < m; i++) \
					sum[i] += (double)x[first + i]; \
			} \
			for (size_t i = 0; i < m; i++) \
				mine[first + i] = (real)(sum[i] / r->size); \
		} \
	}
MEAN_OF_SHARE(mean_f32, float)
MEAN_OF_SHARE(mean_f64, double)

/* The next phase when everything of this one has come. */
static int advance(struct kc_ranks *r, struct kc_channel *c)
{
	for (int i = 0; i < c->n_messages; i++)
		if (!c->message[i].done)
			return 0;
	if (c->phase == MEANS) {
		c->phase = IDLE;
		return 0;
	}
	if (c->dtype == KC_F64)
		mean_f64(r, c);
	else
		mean_f32(r, c);
	return start_phase(r, c, MEANS);
}

int kc_mean_start(struct kc_ranks *r, int channel, enum kc_dtype dtype, void *x, size_t n,
		  void *scratch)
{
	struct kc_channel *c = &r->channel[channel];

	KC_ASSERT(channel < r->n_channels && c->phase == IDLE);
	KC_ASSERT(dtype == KC_F32 || dtype == KC_F64);
	if (r->size == 1)
		return 0;
	c->dtype = dtype;
	c->x = x;
	c->n = n;
	c->share = share_of(r, n);
	c->scratch = scratch;
	return start_phase(r, c, PARTS);
}

int kc_ranks_poll(struct kc_ranks *r)
{
	if (!r->transport)
		return 0;
	KC_TRY(progress(r));
	for (int i = 0; i < r->n_channels; i++)
		if (r->channel[i].phase != IDLE)
			KC_TRY(advance(r, &r->channel[i]));
	return 0;
}

int kc_mean_wait(struct kc_ranks *r, int channel)
{
	for (long tries = 0; r->channel[channel].phase != IDLE; tries++) {
		KC_TRY(kc_ranks_poll(r));
		if (r->channel[channel].phase != IDLE)
			pause_a_little(tries);
	}
	return 0;
}
