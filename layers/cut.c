#include "layers/cut.h"

#include "layers/layers.h"
#include "layers/ref.h"

static const struct kc_opt rows[] = {
	KC_ATTR(kc_cut_attr, side, INT), KC_ATTR(kc_cut_attr, unit, REAL),
};

static int infer(struct kc_infer *f, int dtype, int64_t channels, const char *expected)
{
	const struct kc_type *x = &f->in[0]->type, *table = &f->in[1]->type;
	int64_t side = ((const struct kc_cut_attr *)f->attr)->side;
	char a[96], b[96];

	if (x->ndim != 4 || x->dtype != dtype || (channels == 1 && x->dim[1] != 1))
		return KC_FAIL(KC_ESHAPE, "%s %s, expected %s",
			       kc_dtype_name((enum kc_dtype)x->dtype), kc_dims_text(x, a),
			       expected);
	if (table->dtype != KC_I32 || table->ndim != 2 || table->dim[1] != KC_CUT_COLUMNS ||
	    table->dim[0] < 1 || x->dim[0] % table->dim[0])
		return KC_FAIL(KC_ESHAPE, "a table %s %s for images %s, expected int32 n x %d",
			       kc_dtype_name((enum kc_dtype)table->dtype), kc_dims_text(table, b),
			       kc_dims_text(x, a), KC_CUT_COLUMNS);
	if (side < 1 || side > x->dim[2] || side > x->dim[3])
		return KC_FAIL(KC_ESHAPE, "a square of %lld out of %s", (long long)side,
			       kc_dims_text(x, a));
	f->out[0] = *x;
	f->out[0].dim[2] = f->out[0].dim[3] = side;
	return 0;
}

static int infer_frames(struct kc_infer *f)
{
	return infer(f, KC_U8, 0, "frames of uint8");
}

static int infer_flows(struct kc_infer *f)
{
	KC_TRY(infer(f, KC_I32, 1, "flows in one channel of int32"));
	f->out[0].dim[1] = 2;
	f->out[0].dtype = KC_REAL;
	return 0;
}

/* ---- reference kernels ---- */

struct place { int64_t x, y, symmetry; };

static struct place place_of(const struct kc_call *c, int64_t image)
{
	const struct kc_buf *table = &c->in[1];
	const int64_t *d = c->in[0].type.dim;
	int64_t side = c->out[0].type.dim[2], v[KC_CUT_COLUMNS];

	for (int k = 0; k < KC_CUT_COLUMNS; k++)
		v[k] = (int64_t)kc_get(table, image % table->type.dim[0] * table->stride[0] +
						      k * table->stride[1]);
	return (struct place){KC_MAX(KC_MIN(v[0], d[3] - side), 0),
			      KC_MAX(KC_MIN(v[1], d[2] - side), 0), v[2]};
}

/* Offset of what pixel (i, j) of the result shows, in channel 0. */
static int64_t source(const struct kc_call *c, int64_t image, struct place p, int64_t i, int64_t j)
{
	const int64_t *stride = c->in[0].stride, last = c->out[0].type.dim[2] - 1;
	int64_t row = p.symmetry & KC_CUT_TRANSPOSE ? j : i;
	int64_t column = p.symmetry & KC_CUT_TRANSPOSE ? i : j;

	row = p.y + (p.symmetry & KC_CUT_MIRROR_Y ? last - row : row);
	column = p.x + (p.symmetry & KC_CUT_MIRROR_X ? last - column : column);
	return image * stride[0] + row * stride[2] + column * stride[3];
}

static void each_pixel(const struct kc_call *c,
		       void (*pixel)(const struct kc_call *, struct place, int64_t from,
				     int64_t to))
{
	const struct kc_buf *y = &c->out[0];
	int64_t side = y->type.dim[2], lines = y->type.dim[0] * side;

	#pragma omp parallel for if (kc_is_large(&c->out[0].type))
	for (int64_t line = 0; line < lines; line++) {
		int64_t image = line / side, i = line % side;
		struct place p = place_of(c, image);

		for (int64_t j = 0; j < side; j++)
			pixel(c, p, source(c, image, p, i, j),
			      image * y->stride[0] + i * y->stride[2] + j * y->stride[3]);
	}
}

static void cut_pixel(const struct kc_call *c, struct place p, int64_t from, int64_t to)
{
	(void)p;
	for (int64_t k = 0; k < c->out[0].type.dim[1]; k++)
		kc_put(&c->out[0], to + k * c->out[0].stride[1],
		       kc_get(&c->in[0], from + k * c->in[0].stride[1]));
}

/* The two numbers lie in the int32 as they would in an array. */
static void cut_vector(const struct kc_call *c, struct place p, int64_t from, int64_t to)
{
	double unit = ((const struct kc_cut_attr *)c->attr)->unit;
	double sign[2] = {p.symmetry & KC_CUT_MIRROR_X ? -unit : unit,
			  p.symmetry & KC_CUT_MIRROR_Y ? -unit : unit};
	int32_t both = (int32_t)kc_get(&c->in[0], from);
	int16_t v[2];

	memcpy(v, &both, sizeof v);
	for (int k = 0; k < 2; k++) {
		int of = p.symmetry & KC_CUT_TRANSPOSE ? !k : k;

		kc_put(&c->out[0], to + k * c->out[0].stride[1], sign[of] * v[of]);
	}
}

static void ref_frames(const struct kc_call *c)
{
	each_pixel(c, cut_pixel);
}

static void ref_flows(const struct kc_call *c)
{
	each_pixel(c, cut_vector);
}

#define CUT(name_) \
	const struct kc_op kc_op_cut_##name_ = { \
		.name = "cut_" #name_, .n_in_min = 2, .n_in_max = 2, .flags = KC_OP_NONDIFF, \
		.precision = KC_PREC_FULL, .layout = KC_LAYOUT_CLAST, \
		.attr_size = sizeof(struct kc_cut_attr), .attrs = rows, \
		.n_attrs = KC_COUNT(rows), .infer = infer_##name_, .ref = ref_##name_}
CUT(frames);
CUT(flows);

struct kc_tensor *kc_cut_frames(struct kc_graph *g, struct kc_tensor *frames,
				struct kc_tensor *table, int64_t side)
{
	return kc_apply(g, &kc_op_cut_frames, &(struct kc_cut_attr){side, 0},
			(struct kc_tensor *[]){frames, table}, 2);
}

struct kc_tensor *kc_cut_flows(struct kc_graph *g, struct kc_tensor *flows, struct kc_tensor *table,
			       int64_t side, double unit)
{
	return kc_apply(g, &kc_op_cut_flows, &(struct kc_cut_attr){side, unit},
			(struct kc_tensor *[]){flows, table}, 2);
}
