#include "layers/cpu/dnnl_private.h"

#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { SRC, WEIGHTS, BIAS, DST, SCRATCH, ARGS };

struct primitive {
	struct primitive *next;
	int users;
	int threads;                    /* it divides its work over as many */
	struct kc_dnn_spec spec;
	dnnl_primitive_desc_t pd;
	dnnl_primitive_t p;
};

struct kc_dnn {
	struct primitive *prim;
	dnnl_memory_t mem[ARGS];
	void *at[ARGS];                 /* handles set last: setting one again pads it again */
	dnnl_exec_arg_t args[ARGS];
	int n_args;
	/* A reorder is not shared. */
	dnnl_primitive_desc_t own_pd;
	dnnl_primitive_t own;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct primitive *cache;
static dnnl_engine_t engine;
static dnnl_stream_t stream;

static int fail(dnnl_status_t status, const char *what)
{
	if (status == dnnl_unimplemented || status == dnnl_invalid_arguments)
		return KC_FAIL(KC_ENOSUP, "%s: oneDNN has no such primitive", what);
	if (status == dnnl_out_of_memory)
		return KC_FAIL(KC_ENOMEM, "%s: oneDNN is out of memory", what);
	return KC_FAIL(KC_EBACKEND, "%s: oneDNN failed with status %d", what, (int)status);
}

const char *kc_dnn_version(void)
{
	static char text[32];
	const dnnl_version_t *v = dnnl_version();

	snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
	return text;
}

/* ---- primitives ---- */

static const_dnnl_memory_desc_t prim_desc(const struct primitive *p, int arg)
{
	static const dnnl_query_t fwd[ARGS] = {
		[SRC] = dnnl_query_src_md, [WEIGHTS] = dnnl_query_weights_md,
		[BIAS] = dnnl_query_weights_md, [DST] = dnnl_query_dst_md,
		[SCRATCH] = dnnl_query_scratchpad_md};
	dnnl_query_t what = fwd[arg];

	if (arg == SRC && p->spec.kind == KC_DNN_DGRAD)
		what = dnnl_query_diff_src_md;
	if (arg == WEIGHTS && p->spec.kind == KC_DNN_WGRAD)
		what = dnnl_query_diff_weights_md;
	if (arg == DST && (p->spec.kind == KC_DNN_DGRAD || p->spec.kind == KC_DNN_WGRAD))
		what = dnnl_query_diff_dst_md;
	return dnnl_primitive_desc_query_md(p->pd, what, arg == BIAS);
}

static size_t desc_bytes(const_dnnl_memory_desc_t md)
{
	return md ? dnnl_memory_desc_get_size(md) : 0;
}

static const char *pd_name(const_dnnl_primitive_desc_t pd)
{
	const char *name = "";

	dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
	return name;
}

static void primitive_free(struct primitive *p)
{
	if (p->p)
		dnnl_primitive_destroy(p->p);
	if (p->pd)
		dnnl_primitive_desc_destroy(p->pd);
	free(p);
}

static int engine_start(void)
{
	dnnl_status_t s = dnnl_success;

	if (!engine)
		s = dnnl_engine_create(&engine, dnnl_cpu, 0);
	if (s == dnnl_success && !stream)
		s = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
	return s == dnnl_success ? 0 : fail(s, "engine");
}

static int primitive_make(struct primitive *p)
{
	dnnl_status_t s = kc_dnn_describe(&p->pd, engine, &p->spec);

	if (s == dnnl_success && !strncmp(pd_name(p->pd), "ref", 3))
		s = dnnl_unimplemented;
	if (s == dnnl_success)
		s = dnnl_primitive_create(&p->p, p->pd);
	return s == dnnl_success ? 0 : fail(s, "primitive");
}

static int primitive_get(struct primitive **out, const struct kc_dnn_spec *spec)
{
	struct primitive *p;
	int rc;

	for (p = cache; p; p = p->next)
		if (p->threads == omp_get_max_threads() && !memcmp(&p->spec, spec, sizeof *spec)) {
			p->users++;
			*out = p;
			return 0;
		}
	p = kc_calloc(1, sizeof *p);
	if (!p)
		return KC_ENOMEM;
	p->spec = *spec;
	p->users = 1;
	p->threads = omp_get_max_threads();
	rc = primitive_make(p);
	if (rc < 0) {
		primitive_free(p);
		return rc;
	}
	p->next = cache;
	cache = p;
	*out = p;
	return 0;
}

static void primitive_put(struct primitive *p)
{
	struct primitive **at = &cache;

	if (--p->users)
		return;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	primitive_free(p);
}

/* ---- handles ---- */

static int argument(struct kc_dnn *h, int arg, int id, const_dnnl_memory_desc_t md)
{
	dnnl_status_t s;

	if (!desc_bytes(md))
		return 0;
	s = dnnl_memory_create(&h->mem[arg], md, engine, DNNL_MEMORY_NONE);
	if (s != dnnl_success)
		return fail(s, "memory");
	h->args[h->n_args].arg = id;
	h->args[h->n_args++].memory = h->mem[arg];
	return 0;
}

static int arguments(struct kc_dnn *h)
{
	const struct primitive *p = h->prim;
	bool dgrad = p->spec.kind == KC_DNN_DGRAD, wgrad = p->spec.kind == KC_DNN_WGRAD;
	const int id[ARGS] = {
		[SRC] = dgrad ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC,
		[WEIGHTS] = wgrad ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS,
		[BIAS] = DNNL_ARG_BIAS,
		[DST] = dgrad || wgrad ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST,
		[SCRATCH] = DNNL_ARG_SCRATCHPAD};

	for (int i = 0; i < ARGS; i++)
		if (i != BIAS || p->spec.bias.ndim)
			KC_TRY(argument(h, i, id[i], prim_desc(p, i)));
	return 0;
}

int kc_dnn_open(struct kc_dnn **out, const struct kc_dnn_spec *spec)
{
	struct kc_dnn *h = kc_calloc(1, sizeof *h);
	int rc;

	if (!h)
		return KC_ENOMEM;
	pthread_mutex_lock(&lock);
	rc = engine_start();
	if (rc == 0)
		rc = primitive_get(&h->prim, spec);
	if (rc == 0)
		rc = arguments(h);
	pthread_mutex_unlock(&lock);
	if (rc < 0) {
		kc_dnn_close(h);
		return rc;
	}
	*out = h;
	return 0;
}

void kc_dnn_close(struct kc_dnn *h)
{
	if (!h)
		return;
	for (int i = 0; i < ARGS; i++)
		if (h->mem[i])
			dnnl_memory_destroy(h->mem[i]);
	if (h->own)
		dnnl_primitive_destroy(h->own);
	if (h->own_pd)
		dnnl_primitive_desc_destroy(h->own_pd);
	pthread_mutex_lock(&lock);
	if (h->prim)
		primitive_put(h->prim);
	pthread_mutex_unlock(&lock);
	free(h);
}

const char *kc_dnn_name(const struct kc_dnn *h)
{
	return pd_name(h->prim ? h->prim->pd : h->own_pd);
}

size_t kc_dnn_scratch(const struct kc_dnn *h)
{
	return desc_bytes(prim_desc(h->prim, SCRATCH));
}

size_t kc_dnn_weights_bytes(const struct kc_dnn *h)
{
	return desc_bytes(prim_desc(h->prim, WEIGHTS));
}

void kc_dnn_weights_key(const struct kc_dnn *h, char *text, size_t size)
{
	uint64_t hash = kc_dnn_desc_hash(prim_desc(h->prim, WEIGHTS));

	snprintf(text, size, "dnnl %016llx", (unsigned long long)hash);
}

bool kc_dnn_weights_are(const struct kc_dnn *h, const struct kc_dnn_mem *m)
{
	return kc_dnn_desc_is(prim_desc(h->prim, WEIGHTS), m);
}

static int run_set(struct kc_dnn *h, int arg, void *data)
{
	dnnl_status_t s;

	if (!h->mem[arg] || h->at[arg] == data)
		return 0;
	s = dnnl_memory_set_data_handle(h->mem[arg], data);
	h->at[arg] = data;
	return s == dnnl_success ? 0 : fail(s, "memory");
}

int kc_dnn_run(struct kc_dnn *h, void *src, void *weights, void *bias, void *dst, void *scratch)
{
	dnnl_status_t s;

	KC_TRY(run_set(h, SRC, src));
	KC_TRY(run_set(h, WEIGHTS, weights));
	KC_TRY(run_set(h, BIAS, bias));
	KC_TRY(run_set(h, DST, dst));
	KC_TRY(run_set(h, SCRATCH, scratch));
	s = dnnl_primitive_execute(h->prim ? h->prim->p : h->own, stream, h->n_args, h->args);
	if (s == dnnl_success)
		s = dnnl_stream_wait(stream);
	return s == dnnl_success ? 0 : fail(s, kc_dnn_name(h));
}

static int reorder_make(struct kc_dnn *h, const_dnnl_memory_desc_t from,
			const_dnnl_memory_desc_t to)
{
	dnnl_status_t s = dnnl_reorder_primitive_desc_create(&h->own_pd, from, engine, to, engine,
							     NULL);

	if (s == dnnl_success)
		s = dnnl_primitive_create(&h->own, h->own_pd);
	if (s != dnnl_success)
		return fail(s, "reorder");
	KC_TRY(argument(h, SRC, DNNL_ARG_FROM, from));
	return argument(h, DST, DNNL_ARG_TO, to);
}

int kc_dnn_reorder_open(struct kc_dnn **out, const struct kc_dnn *of,
			const struct kc_dnn_mem *plain, bool unpack)
{
	const_dnnl_memory_desc_t packed = prim_desc(of->prim, WEIGHTS);
	struct kc_dnn *h = kc_calloc(1, sizeof *h);
	struct kc_dnn_desc d = {0};
	dnnl_status_t s;
	int rc;

	if (!h)
		return KC_ENOMEM;
	s = kc_dnn_desc_make(&d, plain);
	if (s != dnnl_success)
		rc = fail(s, "reorder");
	else if (unpack)
		rc = reorder_make(h, packed, kc_dnn_desc_get(&d));
	else
		rc = reorder_make(h, kc_dnn_desc_get(&d), packed);
	kc_dnn_desc_free(&d);
	if (rc < 0) {
		kc_dnn_close(h);
		return rc;
	}
	*out = h;
	return 0;
}

int kc_dnn_run_reorder(struct kc_dnn *h, const void *from, void *to)
{
	return kc_dnn_run(h, (void *)(uintptr_t)from, NULL, NULL, to, NULL);
}
