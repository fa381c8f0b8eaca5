/*
 * Pass 7: bf16 images whose channels a kernel wants to be a multiple of some number get pads:
 * zeros behind the channels of every pixel, written by the step that writes the image.  Without
 * them cuDNN copies the image into its workspace and pads it there, once per use.
 *
 * Only images that everybody reads and writes as fast with pads get them.  A chain of pointwise
 * steps is fast when all that it reads and writes has them or is the same for all channels.
 */
#include "core/plan_ir.h"

/*
 * Not more than this many times the bytes.  3 channels become 8: cuDNN would write as many bytes
 * once per use, or take no tensor cores.  1 and 2 stay as they are: deconvolutions of two channels
 * of flow take up to 17 MB of workspace with pads and none without.
 */
enum { MOST = 3 };

struct pitch {
	struct kc_plan *p;
	int64_t *channels;      /* per value: with its pads; 0: it gets none */
	bool *refused;          /* per value: somebody is slow with pads */
};

/* What all rows of the operator can do, and the largest number that one wants. */
static unsigned ask_rows(const struct kc_plan *p, const struct kc_step *s, int64_t *want)
{
	unsigned can = 0;
	int n = 0;

	*want = 0;
	for (const struct kc_kernel *const *row = p->device->kernels; row && *row; row++) {
		if ((*row)->op != s->op)
			continue;
		can = n++ ? can & (*row)->pads : (*row)->pads;
		if ((*row)->pitch)
			*want = KC_MAX(*want, (*row)->pitch(s->attr));
	}
	return can;
}

static bool may_have_pads(const struct kc_value *x)
{
	return x->home == KC_HOME_ARENA && x->producer >= 0 && x->layout == KC_CLAST &&
	       x->buf.type.ndim >= 4 && x->buf.type.dtype == KC_BF16 &&
	       kc_is_dense(&x->buf, KC_CLAST);
}

static void propose(struct pitch *a, int v, int64_t want)
{
	const struct kc_value *x = &a->p->values[v];
	int64_t n = x->buf.type.dim[1], all = want ? (n + want - 1) / want * want : n;

	if (may_have_pads(x) && all > n && all <= MOST * n)
		a->channels[v] = KC_MAX(a->channels[v], all);
}

static void ask_steps(struct pitch *a)
{
	for (int i = 0; i < a->p->n_steps; i++) {
		const struct kc_step *s = &a->p->steps[i];
		int64_t want;
		unsigned can = ask_rows(a->p, s, &want);

		for (int k = 0; k < s->n_in; k++) {
			a->refused[s->in[k]] |= !(can & KC_PADS_READ);
			propose(a, s->in[k], want);
		}
		for (int k = 0; k < s->n_out; k++) {
			a->refused[s->out[k]] |= !(can & KC_PADS_WRITE);
			propose(a, s->out[k], want);
		}
	}
	/* Views would have to have the same strides. */
	for (int v = 0; v < a->p->n_values; v++)
		if (a->p->values[v].home == KC_HOME_ALIAS)
			a->refused[kc_ir_root(a->p, v)] = true;
	for (int v = 0; v < a->p->n_values; v++)
		a->channels[v] = a->refused[v] ? 0 : a->channels[v];
}

/* One number for all channels of y. */
static bool repeats_channels(const struct kc_buf *x, const struct kc_type *y)
{
	int at = 1 - (y->ndim - x->type.ndim);

	return at < 0 || x->stride[at] == 0 || (x->type.dim[at] == 1 && y->dim[1] > 1);
}

/* Whether all that a chain reads and writes has as many channels with pads as value v. */
static bool agrees(const struct pitch *a, const struct kc_step *s, int v)
{
	const struct kc_type *t = &a->p->values[s->out[0]].buf.type;
	int64_t n_out = ((const struct kc_fused_attr *)s->attr)->n_out;    /* without a sum */

	for (int k = 0; k < n_out; k++)
		if (a->channels[s->out[k]] != a->channels[v])
			return false;
	for (int k = 0; k < s->n_in; k++)
		if (a->channels[s->in[k]] != a->channels[v] &&
		    !repeats_channels(&a->p->values[s->in[k]].buf, t))
			return false;
	return true;
}

/* Takes back what a chain would be slow with; how many that were. */
static int take_back(struct pitch *a, const struct kc_step *s)
{
	int back = 0;

	for (int k = 0; k < s->n_in + s->n_out; k++) {
		int v = k < s->n_in ? s->in[k] : s->out[k - s->n_in];

		if (a->channels[v] && !agrees(a, s, v)) {
			a->channels[v] = 0;
			back++;
		}
	}
	return back;
}

static void settle(struct pitch *a)
{
	int back;

	do {
		back = 0;
		for (int i = 0; i < a->p->n_steps; i++)
			if (a->p->steps[i].op == a->p->ops->fused)
				back += take_back(a, &a->p->steps[i]);
	} while (back);
}

/* Strides and bytes of the value; the bytes that its pads take. */
static size_t add_pads(struct kc_value *x, int64_t channels)
{
	size_t before = x->bytes;
	struct kc_type all;

	x->buf.pads = channels - x->buf.type.dim[1];
	all = kc_with_pads(&x->buf).type;
	kc_strides(&all, KC_CLAST, x->buf.stride);
	x->bytes = (size_t)kc_numel(&all) * kc_dtype_size((enum kc_dtype)all.dtype);
	return x->bytes - before;
}

int kc_pass_pitch(struct kc_plan *p)
{
	struct pitch a = {.p = p};
	size_t nv = (size_t)p->n_values, bytes = 0;
	int n = 0;

	a.channels = kc_arena_alloc(&p->memory, nv * sizeof *a.channels);
	a.refused = kc_arena_alloc(&p->memory, nv * sizeof *a.refused);
	if (!a.channels || !a.refused)
		return KC_ENOMEM;
	ask_steps(&a);
	settle(&a);
	for (size_t v = 0; v < nv; v++) {
		if (!a.channels[v])
			continue;
		bytes += add_pads(&p->values[v], a.channels[v]);
		n++;
	}
	kc_ir_trace(p, "pitch: %d images with pads behind their channels, %.1f MB of them", n,
		    (double)bytes / 1e6);
	return 0;
}
