/*
 * Means over the ranks of GPUs: NCCL on a stream beside that of the kernels, so messages travel
 * while the rest of the backward pass runs.  A recorded run holds both streams.
 *
 * The ranks find each other once per device, when the first plan that needs it is built; the
 * address of the first rank goes through core/ranks.h, as all else does that is small.
 */
#include "layers/ranks.h"

#include "layers/cuda/cuda.h"
#include "layers/cuda/nccl.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* ---- the communicator ---- */

/*
 * NCCL's meeting waits for all ranks without end, so it is held in a thread of its own, which is
 * left behind, with this, when a rank is lost meanwhile.
 */
struct meeting {
	struct kc_nccl_id id;
	int rank, size, device;
	struct kc_nccl *nccl;
	int rc;
	char *message;                  /* of rc; NULL without memory */
	atomic_bool over;
};

static void *hold(void *own)
{
	struct meeting *m = own;

	m->rc = kc_cuda_check(cudaSetDevice(m->device), "meeting of the ranks");
	if (!m->rc)
		m->rc = kc_nccl_open(&m->nccl, &m->id, m->rank, m->size);
	m->message = m->rc < 0 ? kc_strdup(kc_errmsg()) : NULL;
	atomic_store(&m->over, true);
	return NULL;
}

/* Until the meeting is over, or a rank is lost. */
static int await(const struct meeting *m, struct kc_ranks *r)
{
	const struct timespec a_little = {.tv_nsec = 1000000};

	while (!atomic_load(&m->over)) {
		KC_TRY(kc_ranks_poll(r));
		nanosleep(&a_little, NULL);
	}
	return 0;
}

static int hold_meeting(struct kc_cuda *c, struct kc_ranks *r, const struct kc_nccl_id *id)
{
	struct meeting *m = kc_calloc(1, sizeof *m);
	pthread_t thread;
	int rc;

	if (!m)
		return KC_ENOMEM;
	*m = (struct meeting){.id = *id, .rank = r->rank, .size = r->size, .device = c->index};
	if (pthread_create(&thread, NULL, hold, m)) {
		free(m);
		return KC_FAIL(KC_ENOMEM, "cannot start a thread to meet the ranks");
	}
	rc = await(m, r);
	if (rc < 0) {
		pthread_detach(thread);
		return rc;
	}
	pthread_join(thread, NULL);
	c->nccl = m->nccl;
	rc = m->rc < 0 ? KC_FAIL(m->rc, "%s", m->message ? m->message : "out of memory") : 0;
	free(m->message);
	free(m);
	return rc;
}

/* Who has no NCCL, or another one than the others, would leave them waiting in the meeting. */
static int compare_libraries(struct kc_ranks *r)
{
	char version[32];

	KC_TRY(kc_ranks_agree(r, kc_nccl_version(version, sizeof version)));
	return kc_ranks_compare(r, "versions of NCCL", version);
}

static int meet(struct kc_cuda *c, struct kc_ranks *r)
{
	struct kc_nccl_id id = {{0}};

	KC_TRY(compare_libraries(r));
	KC_TRY(kc_ranks_agree(r, r->rank ? 0 : kc_nccl_id_make(&id)));
	KC_TRY(kc_ranks_broadcast(r, &id, sizeof id));
	/* Those whom this rank leaves in the meeting must hear of it at once. */
	KC_TRY(kc_ranks_agree(r, kc_ranks_tell(r, hold_meeting(c, r, &id))));
	c->ranks = r;
	return kc_cuda_check(cudaStreamCreateWithFlags(&c->messages, cudaStreamNonBlocking),
			     "stream of messages");
}

void kc_cuda_ranks_close(struct kc_cuda *c)
{
	bool lost = c->ranks && c->ranks->failed;

	if (lost)
		kc_nccl_abort(c->nccl);
	else
		kc_nccl_close(c->nccl);
	c->nccl = NULL;
	if (c->messages)
		cudaStreamDestroy(c->messages);
	c->messages = NULL;
}

/* Kernels of NCCL wait for lost ranks for ever; ending them lets the stream go on. */
static int give_up(struct kc_cuda *c, int rc)
{
	kc_nccl_abort(c->nccl);
	c->nccl = NULL;
	return rc;
}

static int check_messages(struct kc_cuda *c)
{
	int rc = kc_ranks_tell(c->ranks, kc_nccl_check(c->nccl));

	return rc < 0 ? give_up(c, rc) : 0;
}

static int check_ranks(struct kc_cuda *c)
{
	int rc = kc_ranks_poll(c->ranks);

	return rc < 0 ? give_up(c, rc) : check_messages(c);
}

/* "Not ready" is no failure, but would be found by the check of the next launch. */
static cudaError_t ask(cudaStream_t stream, cudaEvent_t event)
{
	cudaError_t e = event ? cudaEventQuery(event) : cudaStreamQuery(stream);

	if (e == cudaErrorNotReady)
		cudaGetLastError();
	return e;
}

/* For the event, or without one for the stream. */
static int wait_for(struct kc_cuda *c, cudaStream_t stream, cudaEvent_t event)
{
	const struct timespec a_little = {.tv_nsec = 20000};
	cudaError_t e;

	while ((e = ask(stream, event)) == cudaErrorNotReady) {
		KC_TRY(check_ranks(c));
		nanosleep(&a_little, NULL);
	}
	KC_TRY(kc_cuda_check(e, "wait"));
	/* What NCCL itself has ended leaves the stream, too, and its means are none. */
	return check_messages(c);
}

int kc_cuda_wait(struct kc_cuda *c, cudaStream_t stream)
{
	return c->nccl ? wait_for(c, stream, NULL)
		       : kc_cuda_check(cudaStreamSynchronize(stream), "wait");
}

int kc_cuda_wait_event(struct kc_cuda *c, cudaEvent_t event)
{
	return c->nccl ? wait_for(c, NULL, event)
		       : kc_cuda_check(cudaEventSynchronize(event), "wait");
}

/* ---- rows: each owns an event, by which one stream waits for the other ---- */

static bool fits(const struct kc_step_info *info)
{
	return info->out[0].type.dtype == KC_F32;
}

static int prepare(struct kc_step_info *info)
{
	struct kc_cuda *c = kc_cuda_of(info->device);
	cudaEvent_t event;

	if (!c->nccl)
		KC_TRY(meet(c, ((const struct kc_all_reduce_attr *)info->attr)->ranks));
	KC_TRY(kc_cuda_check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event"));
	info->prepared = event;
	return 0;
}

static void release(void *event)
{
	cudaEventDestroy(event);
}

/* Work of `later` from now on comes behind what `earlier` has got so far. */
static int follow(cudaStream_t later, cudaStream_t earlier, cudaEvent_t event)
{
	KC_TRY(kc_cuda_check(cudaEventRecord(event, earlier), "order of the messages"));
	return kc_cuda_check(cudaStreamWaitEvent(later, event, 0), "order of the messages");
}

/* The inputs one behind the other in the flat output, each its share of the mean. */
static int pack(const struct kc_call *c, double share)
{
	float *at = c->out[0].data;

	for (int i = 0; i < c->n_in; i++) {
		struct kc_type t = c->in[i].type;
		struct kc_buf part;

		t.dtype = KC_F32;
		part = kc_buf_of(at, &t, KC_PLAIN);
		KC_TRY(kc_cuda_move(&part, &c->in[i], 1, share, kc_cuda_stream(c)));
		at += kc_numel(&t);
	}
	return 0;
}

static int run_start(const struct kc_call *c)
{
	struct kc_cuda *cuda = kc_cuda_of(c->device);
	const struct kc_all_reduce_attr *a = c->attr;

	KC_TRY(pack(c, 1.0 / a->ranks->size));
	KC_TRY(follow(cuda->messages, cuda->stream, c->prepared));
	if (!cuda->nccl)
		return KC_FAIL(KC_EBACKEND, "another rank is lost");
	return kc_nccl_sum(cuda->nccl, c->out[0].data, (size_t)kc_numel(&c->out[0].type),
			   cuda->messages);
}

/* Messages arrive in the order in which they were started: those before this one are there, too. */
static int run_wait(const struct kc_call *c)
{
	struct kc_cuda *cuda = kc_cuda_of(c->device);

	KC_TRY(follow(cuda->stream, cuda->messages, c->prepared));
	if (c->out[0].data == c->in[0].data)
		return 0;
	return kc_cuda_move(&c->out[0], &c->in[0], 1, 1, cuda->stream);
}

const struct kc_kernel kc_cuda_all_reduce = {
	.op = &kc_op_all_reduce, .name = "NCCL", .fits = fits, .prepare = prepare,
	.run = run_start, .release = release,
};

const struct kc_kernel kc_cuda_all_reduce_wait = {
	.op = &kc_op_all_reduce_wait, .name = "NCCL", .fits = fits, .prepare = prepare,
	.run = run_wait, .release = release,
};
