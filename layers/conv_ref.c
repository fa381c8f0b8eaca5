/*
 * Reference kernels of convolution and its two gradients, each as a matrix product over
 * elements fetched from any layout.  Names follow the forward convolution: x has c channels,
 * y has k, and "tap" is a position in the kernel window.
 */
#include "layers/conv_private.h"
#include "layers/product.h"

#include <math.h>

struct geometry {
	const struct kc_conv_attr *attr;
	const struct kc_buf *x, *w, *y, *bias;
	int64_t c, k;                           /* channels of one group */
	int64_t nx[3], ny[3], nk[3];            /* sizes; missing leading dimensions are 1 */
	int64_t sx[3], sy[3], sk[3];            /* strides in elements */
	int64_t stride[3], pad[3], dilation[3];
	int64_t group;
	/* Of one phase of the data gradient: x positions and taps that differ by the stride. */
	int64_t phase[3], count[3], tap[3], taps[3], tap_step[3];
};

static void geometry_init(struct geometry *g, const struct kc_conv_attr *a, const struct kc_buf *x,
			  const struct kc_buf *w, const struct kc_buf *y, const struct kc_buf *bias)
{
	*g = (struct geometry){.attr = a, .x = x, .w = w, .y = y, .bias = bias};
	g->c = w->type.dim[1];
	g->k = w->type.dim[0] / a->groups;
	for (int j = 0; j < 3; j++) {
		int from = j - (3 - (int)a->nd), at = from + 2;

		g->nx[j] = from < 0 ? 1 : x->type.dim[at];
		g->ny[j] = from < 0 ? 1 : y->type.dim[at];
		g->nk[j] = from < 0 ? 1 : w->type.dim[at];
		g->sx[j] = from < 0 ? 0 : x->stride[at];
		g->sy[j] = from < 0 ? 0 : y->stride[at];
		g->sk[j] = from < 0 ? 0 : w->stride[at];
		g->stride[j] = from < 0 ? 1 : a->stride[from];
		g->pad[j] = from < 0 ? 0 : a->pad[from];
		g->dilation[j] = from < 0 ? 1 : a->dilation[from];
	}
}

/* Row-major position of index i in a box. */
static void unravel(int64_t i, const int64_t box[3], int64_t at[3])
{
	at[2] = i % box[2];
	at[1] = i / box[2] % box[1];
	at[0] = i / box[2] / box[1];
}

static int64_t volume(const int64_t box[3])
{
	return box[0] * box[1] * box[2];
}

static double activate(const struct kc_conv_attr *a, double x)
{
	switch (a->act) {
	case KC_RELU: return x > 0 ? x : 0;
	case KC_LEAKY: return x > 0 ? x : a->slope * x;
	case KC_TANH: return tanh(x);
	case KC_SIGMOID: return 1 / (1 + exp(-x));
	default: return x;
	}
}

/* Bias and activation of count channels from channel j of the group, then out they go. */
static void finish(const struct geometry *g, const struct kc_buf *out, int64_t at, int64_t channel,
		   int64_t count, double *v)
{
	for (int64_t i = 0; i < count; i++) {
		if (g->bias)
			v[i] += kc_get(g->bias, (channel + i) * g->bias->stride[0]);
		v[i] = activate(g->attr, v[i]);
	}
	kc_row_write(out, at + channel * out->stride[1], out->stride[1], count, v);
}

/* ---- forward: rows are positions of y, depth is (tap, c), columns are k ---- */

static void conv_a(const void *own, int64_t i, int64_t d, int64_t count, double *to)
{
	const struct geometry *g = own;
	int64_t pixels = volume(g->ny), o[3], t[3];

	unravel(i % pixels, g->ny, o);
	while (count > 0) {
		int64_t c = d % g->c, run = KC_MIN(g->c - c, count);
		int64_t at = i / pixels * g->x->stride[0] + (g->group * g->c + c) * g->x->stride[1];
		bool inside = true;

		unravel(d / g->c, g->nk, t);
		for (int j = 0; j < 3; j++) {
			int64_t p = o[j] * g->stride[j] - g->pad[j] + t[j] * g->dilation[j];

			inside &= p >= 0 && p < g->nx[j];
			at += p * g->sx[j];
		}
		if (inside)
			kc_row_read(g->x, at, g->x->stride[1], run, to);
		else
			memset(to, 0, (size_t)run * sizeof *to);
		to += run;
		d += run;
		count -= run;
	}
}

static int64_t tap_offset(const struct geometry *g, const int64_t t[3])
{
	return t[0] * g->sk[0] + t[1] * g->sk[1] + t[2] * g->sk[2];
}

static void conv_b(const void *own, int64_t d, int64_t j, int64_t count, double *to)
{
	const struct geometry *g = own;
	int64_t t[3], at;

	unravel(d / g->c, g->nk, t);
	at = tap_offset(g, t) + d % g->c * g->w->stride[1] +
	     (g->group * g->k + j) * g->w->stride[0];
	kc_row_read(g->w, at, g->w->stride[0], count, to);
}

static void conv_store(const void *own, int64_t i, int64_t j, int64_t count, double *c)
{
	const struct geometry *g = own;
	int64_t pixels = volume(g->ny), o[3];

	unravel(i % pixels, g->ny, o);
	finish(g, g->y, i / pixels * g->y->stride[0] + o[0] * g->sy[0] + o[1] * g->sy[1] +
	       o[2] * g->sy[2], g->group * g->k + j, count, c);
}

void kc_conv_ref(const struct kc_call *call)
{
	struct geometry g;

	geometry_init(&g, call->attr, &call->in[0], &call->in[1], &call->out[0],
		      call->n_in > 2 ? &call->in[2] : NULL);
	for (g.group = 0; g.group < g.attr->groups; g.group++)
		kc_product_run(&(struct kc_product){
			.own = &g, .m = g.y->type.dim[0] * volume(g.ny), .n = g.k,
			.depth = volume(g.nk) * g.c, .a = conv_a, .b = conv_b,
			.store = conv_store});
}

/*
 * ---- data gradient: rows are positions of x, depth is (tap, k), columns are c ----
 * Position i of x meets tap t where i + pad - t * dilation is a multiple of the stride: the
 * positions of one phase (i modulo the stride) share their taps, and no product is wasted.
 */

static int64_t modulo(int64_t a, int64_t b)
{
	return (a % b + b) % b;
}

/* The taps of a phase along one dimension are an arithmetic progression. */
static void phase_taps(struct geometry *g, int j)
{
	int64_t s = g->stride[j], found = 0;

	g->count[j] = (g->nx[j] - g->phase[j] + s - 1) / s;
	g->taps[j] = 0;
	g->tap[j] = g->tap_step[j] = 0;
	for (int64_t t = 0; t < g->nk[j]; t++) {
		if (modulo(g->phase[j] + g->pad[j] - t * g->dilation[j], s))
			continue;
		if (found++ == 0)
			g->tap[j] = t;
		else if (found == 2)
			g->tap_step[j] = t - g->tap[j];
	}
	g->taps[j] = found;
}

static void phase_tap(const struct geometry *g, int64_t index, int64_t t[3])
{
	unravel(index, g->taps, t);
	for (int j = 0; j < 3; j++)
		t[j] = g->tap[j] + t[j] * g->tap_step[j];
}

static void phase_position(const struct geometry *g, int64_t index, int64_t i[3])
{
	unravel(index, g->count, i);
	for (int j = 0; j < 3; j++)
		i[j] = g->phase[j] + i[j] * g->stride[j];
}

static void dgrad_a(const void *own, int64_t i, int64_t d, int64_t count, double *to)
{
	const struct geometry *g = own;
	int64_t pixels = volume(g->count), p[3], t[3];

	phase_position(g, i % pixels, p);
	while (count > 0) {
		int64_t k = d % g->k, run = KC_MIN(g->k - k, count);
		int64_t at = i / pixels * g->y->stride[0] + (g->group * g->k + k) * g->y->stride[1];
		bool inside = true;

		phase_tap(g, d / g->k, t);
		for (int j = 0; j < 3; j++) {
			int64_t o = p[j] + g->pad[j] - t[j] * g->dilation[j];

			inside &= o >= 0 && o / g->stride[j] < g->ny[j];
			at += o / g->stride[j] * g->sy[j];
		}
		if (inside)
			kc_row_read(g->y, at, g->y->stride[1], run, to);
		else
			memset(to, 0, (size_t)run * sizeof *to);
		to += run;
		d += run;
		count -= run;
	}
}

static void dgrad_b(const void *own, int64_t d, int64_t j, int64_t count, double *to)
{
	const struct geometry *g = own;
	int64_t t[3], at;

	phase_tap(g, d / g->k, t);
	at = tap_offset(g, t) + (g->group * g->k + d % g->k) * g->w->stride[0] +
	     j * g->w->stride[1];
	kc_row_read(g->w, at, g->w->stride[1], count, to);
}

static void dgrad_store(const void *own, int64_t i, int64_t j, int64_t count, double *c)
{
	const struct geometry *g = own;
	int64_t pixels = volume(g->count), p[3];

	phase_position(g, i % pixels, p);
	finish(g, g->x, i / pixels * g->x->stride[0] + p[0] * g->sx[0] + p[1] * g->sx[1] +
	       p[2] * g->sx[2], g->group * g->c + j, count, c);
}

void kc_conv_dgrad_ref(const struct kc_call *call)
{
	struct geometry g;
	int64_t phases;

	geometry_init(&g, call->attr, &call->out[0], &call->in[1], &call->in[0],
		      call->n_in > 2 ? &call->in[2] : NULL);
	phases = volume(g.stride);
	for (int64_t i = 0; i < phases * g.attr->groups; i++) {
		g.group = i / phases;
		unravel(i % phases, g.stride, g.phase);
		for (int j = 0; j < 3; j++)
			phase_taps(&g, j);
		kc_product_run(&(struct kc_product){
			.own = &g, .m = g.x->type.dim[0] * volume(g.count), .n = g.c,
			.depth = volume(g.taps) * g.k, .a = dgrad_a, .b = dgrad_b,
			.store = dgrad_store});
	}
}

/* ---- weight gradient: rows are (tap, c), depth is positions of y, columns are k ---- */

static void wgrad_a(const void *own, int64_t i, int64_t d, int64_t count, double *to)
{
	const struct geometry *g = own;
	int64_t pixels = volume(g->ny), c = g->group * g->c + i % g->c, t[3], o[3];

	unravel(i / g->c, g->nk, t);
	while (count > 0) {
		int64_t at = d / pixels * g->x->stride[0] + c * g->x->stride[1], run;
		bool inside = true;

		unravel(d % pixels, g->ny, o);
		run = KC_MIN(g->ny[2] - o[2], count);
		for (int j = 0; j < 2; j++) {
			int64_t p = o[j] * g->stride[j] - g->pad[j] + t[j] * g->dilation[j];

			inside &= p >= 0 && p < g->nx[j];
			at += p * g->sx[j];
		}
		for (int64_t r = 0; r < run; r++) {
			int64_t p = (o[2] + r) * g->stride[2] - g->pad[2] + t[2] * g->dilation[2];

			to[r] = 0;
			if (inside && p >= 0 && p < g->nx[2])
				to[r] = kc_get(g->x, at + p * g->sx[2]);
		}
		to += run;
		d += run;
		count -= run;
	}
}

static void wgrad_b(const void *own, int64_t d, int64_t j, int64_t count, double *to)
{
	const struct geometry *g = own;
	int64_t pixels = volume(g->ny), o[3], at;

	unravel(d % pixels, g->ny, o);
	at = d / pixels * g->y->stride[0] + (g->group * g->k + j) * g->y->stride[1] +
	     o[0] * g->sy[0] + o[1] * g->sy[1] + o[2] * g->sy[2];
	kc_row_read(g->y, at, g->y->stride[1], count, to);
}

static void wgrad_store(const void *own, int64_t i, int64_t j, int64_t count, double *c)
{
	const struct geometry *g = own;
	int64_t t[3], at;

	unravel(i / g->c, g->nk, t);
	at = tap_offset(g, t) + i % g->c * g->w->stride[1] +
	     (g->group * g->k + j) * g->w->stride[0];
	kc_row_write(g->w, at, g->w->stride[0], count, c);
}

void kc_conv_wgrad_ref(const struct kc_call *call)
{
	struct geometry g;

	geometry_init(&g, call->attr, &call->in[0], &call->out[0], &call->in[1], NULL);
	for (g.group = 0; g.group < g.attr->groups; g.group++)
		kc_product_run(&(struct kc_product){
			.own = &g, .m = volume(g.nk) * g.c, .n = g.k,
			.depth = g.y->type.dim[0] * volume(g.ny), .a = wgrad_a, .b = wgrad_b,
			.store = wgrad_store});
}
