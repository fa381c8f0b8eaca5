/*
 * Single kernels of layers/cuda on the emulated device, with inputs in types and layouts that
 * plans give them in bf16 and behind views: against the reference kernel in float64 on the same
 * inputs, twice with different orders of threads, bit for bit.
 */
#include "core/random.h"
#include "layers/layers.h"
#include "layers/motion.h"
#include "layers/ops.h"
#include "layers/pool.h"
#include "layers/resample.h"
#include "layers/sample.h"
#include "layers/shape.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_IN = 4, MAX_PARTS = 4 };

/* How inputs of four and more dimensions lie. */
enum form {
	CHANNELS_LAST,
	ROW_MAJOR,
	PART,                           /* of an image with more channels, not aligned */
	REPEATED                        /* the first of a batch for all of it */
};

static const char *const form_names[] = {"channels-last", "row-major", "part", "repeated"};

/* One operator with the ranges of its inputs: integers are whole numbers below high. */
struct trial {
	struct kc_graph *g;
	struct kc_tensor *y;
	double low[MAX_IN], high[MAX_IN];
	struct kc_device device;
	struct kc_random random;
	int input_type, output_type;    /* of real values */
	enum form form;
	struct kc_buf in[MAX_IN], out[MAX_PARTS], want[MAX_PARTS];
	void *memory[MAX_IN + MAX_PARTS];
	int n_memory;
};

static void begin(struct trial *t)
{
	*t = (struct trial){.g = kc_graph_new(&kc_layers)};
	KC_ASSERT(t->g);
	kc_random_init(&t->random, 1, KC_STREAM_TEST, 0, 1);
	KC_CHECK_OK(kc_emulator_open(&t->device));
}

static void end(struct trial *t)
{
	kc_graph_free(t->g);
	kc_device_release(&t->device);
}

/* Input i of the operator. */
static struct kc_tensor *given(struct trial *t, int i, double low, double high, struct kc_type type)
{
	static const char *const names[MAX_IN] = {"a", "b", "c", "d"};

	t->low[i] = low;
	t->high[i] = high;
	return kc_input(t->g, names[i], type);
}

static size_t bytes_of(const struct kc_type *t)
{
	return (size_t)kc_numel(t) * kc_dtype_size((enum kc_dtype)t->dtype);
}

static void *memory(struct trial *t, size_t bytes)
{
	void *p = NULL;

	KC_CHECK_OK(kc_device_alloc(&t->device, bytes, &p));
	return t->memory[t->n_memory++] = p;
}

static void fill(struct trial *t, int i)
{
	struct kc_buf *b = &t->in[i];
	struct kc_type wide = b->type;
	struct kc_buf from;
	double *v;

	wide.dtype = KC_F64;
	v = kc_alloc(bytes_of(&wide));
	KC_ASSERT(v);
	for (int64_t k = 0; k < kc_numel(&wide); k++) {
		v[k] = t->low[i] + (t->high[i] - t->low[i]) * kc_random_unit(&t->random);
		if (b->type.dtype == KC_I32 || b->type.dtype == KC_U8)
			v[k] = floor(v[k]);
	}
	from = kc_buf_of(v, &wide, KC_PLAIN);
	kc_copy(b, &from);
	free(v);
}

static void place_input(struct trial *t, int i, const struct kc_tensor *x)
{
	struct kc_type type = x->type, held;
	enum kc_layout layout = t->form == ROW_MAJOR ? KC_PLAIN : KC_CLAST;

	if (type.dtype == KC_REAL)
		type.dtype = t->input_type;
	held = type;
	if (t->form == PART && type.ndim >= 4)
		held.dim[1] += type.dim[1] % 16 ? 3 : 8;
	if (t->form == REPEATED)
		held.dim[0] = 1;
	t->in[i] = kc_buf_of(memory(t, bytes_of(&held)), &held, layout);
	if (t->form == PART && type.ndim >= 4)
		t->in[i].data = (char *)t->in[i].data +
				kc_dtype_size((enum kc_dtype)type.dtype);
	t->in[i].type = t->form == REPEATED ? held : type;
	fill(t, i);
	t->in[i].type = type;
	if (t->form == REPEATED && type.dim[0] > 1)
		t->in[i].stride[0] = 0;
}

static void place(struct trial *t)
{
	const struct kc_node *node = t->y->node;

	for (int i = 0; i < node->n_in; i++)
		place_input(t, i, node->in[i]);
	for (int k = 0; k < node->n_out; k++) {
		struct kc_type type = node->out[k].type, wide;

		type.dtype = type.dtype == KC_REAL ? t->output_type : type.dtype;
		wide = type;
		wide.dtype = type.dtype == KC_I32 ? KC_I32 : KC_F64;
		t->out[k] = kc_buf_of(memory(t, bytes_of(&type)), &type,
				      t->form == ROW_MAJOR ? KC_PLAIN : KC_CLAST);
		t->want[k] = kc_buf_of(kc_calloc(1, bytes_of(&wide)), &wide, KC_PLAIN);
		KC_ASSERT(t->want[k].data);
	}
}

static void unplace(struct trial *t)
{
	for (int k = 0; k < t->y->node->n_out; k++)
		free(t->want[k].data);
	for (int i = 0; i < t->n_memory; i++)
		kc_device_free(&t->device, t->memory[i]);
	t->n_memory = 0;
}

static int run_row(struct trial *t, const struct kc_kernel *k, struct kc_step_info *info)
{
	struct kc_call call = {.attr = info->attr, .in = t->in, .out = t->out, .n_in = info->n_in,
			       .n_out = info->n_out, .prepared = info->prepared,
			       .device = &t->device};
	int rc = 0;

	if (info->workspace)
		rc = kc_device_alloc(&t->device, info->workspace, &call.workspace);
	if (!rc)
		rc = k->run(&call);
	if (!rc)
		rc = t->device.memory->wait(&t->device);
	kc_device_free(&t->device, call.workspace);
	return rc;
}

/* By the first row that fits. */
static void run(struct trial *t, bool deterministic, uint64_t seed)
{
	const struct kc_node *node = t->y->node;
	struct kc_step_info info = {.op = node->op, .attr = node->attr, .in = t->in,
				    .out = t->out, .n_in = node->n_in, .n_out = node->n_out,
				    .device = &t->device, .deterministic = deterministic};
	const struct kc_kernel *const *row = t->device.kernels;

	emu_seed(seed);
	while (*row && ((*row)->op != node->op || !(*row)->fits(&info)))
		row++;
	if (!*row) {
		kc_test_fail(__FILE__, __LINE__, "no kernel for %s", node->op->name);
		return;
	}
	if (!(*row)->prepare || KC_CHECK_OK((*row)->prepare(&info)))
		KC_CHECK_OK(run_row(t, *row, &info));
	if (info.prepared && (*row)->release)
		(*row)->release(info.prepared);
}

static double largest_error(const struct kc_buf *got, const struct kc_buf *want, double *scale)
{
	double error = 0;
	struct kc_type wide = want->type;
	double *v = kc_alloc((size_t)kc_numel(&wide) * sizeof *v);
	struct kc_buf to;

	KC_ASSERT(v);
	wide.dtype = KC_F64;
	to = kc_buf_of(v, &wide, KC_PLAIN);
	kc_copy(&to, got);
	*scale = 0.1;
	for (int64_t i = 0; i < kc_numel(&wide); i++) {
		double w = kc_get(want, i), d = fabs(v[i] - w);

		error = kc_test_worse(error, d);
		*scale = fmax(*scale, fabs(w));
	}
	free(v);
	return error;
}

static void compare(const struct trial *t, const char *what)
{
	double scale;

	for (int k = 0; k < t->y->node->n_out; k++) {
		double error = largest_error(&t->out[k], &t->want[k], &scale);
		double allowed = t->out[k].type.dtype == KC_I32 ? 0 :
				 t->out[k].type.dtype == KC_BF16 ? 4e-3 : 2e-6;

		if (!(error <= allowed * scale))
			kc_test_fail(__FILE__, __LINE__,
				     "%s, %s, %s to %s, %s: error %.2e, allowed %.2e",
				     t->y->node->op->name, form_names[t->form],
				     kc_dtype_name((enum kc_dtype)t->input_type),
				     kc_dtype_name((enum kc_dtype)t->output_type), what, error,
				     allowed * scale);
	}
}

static void check_once(struct trial *t)
{
	const struct kc_node *node = t->y->node;
	struct kc_call call = {.attr = node->attr, .in = t->in, .out = t->want,
			       .n_in = node->n_in, .n_out = node->n_out};
	size_t n;
	void *first;

	place(t);
	n = bytes_of(&t->out[0].type);
	first = kc_alloc(n);
	KC_ASSERT(first);
	node->op->ref(&call);
	run(t, false, 1);
	compare(t, "any order");
	run(t, true, 2);
	compare(t, "deterministic");
	memcpy(first, t->out[0].data, n);
	memset(t->out[0].data, 0xff, n);
	run(t, true, 3);
	if (memcmp(first, t->out[0].data, n))
		kc_test_fail(__FILE__, __LINE__, "%s: bits depend on the order of threads",
			     node->op->name);
	free(first);
	unplace(t);
}

/* In all forms and types; the trial ends. */
static void check(struct trial *t, struct kc_tensor *y)
{
	static const int types[][2] = {
		{KC_F32, KC_F32}, {KC_BF16, KC_BF16}, {KC_BF16, KC_F32}, {KC_F32, KC_BF16}};

	t->y = y;
	if (!KC_CHECK_OK(kc_graph_status(t->g)))
		return;
	for (int form = CHANNELS_LAST; form <= REPEATED; form++)
		for (size_t i = 0; i < KC_COUNT(types); i++) {
			t->form = (enum form)form;
			t->input_type = types[i][0];
			t->output_type = types[i][1];
			check_once(t);
		}
	end(t);
}

#define REAL(...) KC_TYPE(KC_REAL, __VA_ARGS__)

/* ---- moving elements ---- */

static struct kc_tensor *image(struct trial *t, int i, int64_t c, int64_t h, int64_t w)
{
	return given(t, i, -1, 1, REAL(2, c, h, w));
}

static void test_moves(void)
{
	const struct kc_type wide = REAL(2, 24, 5, 3);
	static const int orders[][4] = {{0, 2, 3, 1}, {0, 3, 1, 2}, {3, 2, 1, 0}};
	struct kc_tensor *part[2];
	struct trial t;

	for (size_t i = 0; i < KC_COUNT(orders); i++) {
		begin(&t);
		check(&t, kc_permute(t.g, image(&t, 0, 40, 5, 33), orders[i]));
	}
	for (int axis = 0; axis < 4; axis++) {
		begin(&t);
		check(&t, kc_flip(t.g, image(&t, 0, 16, 3, 5), axis));
		begin(&t);
		check(&t, KC_CONCAT(t.g, axis, image(&t, 0, 16, 3, 4), image(&t, 1, 16, 3, 4)));
		begin(&t);
		check(&t, kc_slice(t.g, image(&t, 0, 24, 6, 9), axis, 1, axis ? 2 : 1, 1 + axis));
	}
	begin(&t);
	kc_split(t.g, image(&t, 0, 16, 3, 5), 1, 2, part);
	check(&t, part[0]);
	begin(&t);
	check(&t, kc_reshape(t.g, image(&t, 0, 12, 5, 7), 3, (int64_t[]){2, 12, 35}));
	begin(&t);
	check(&t, kc_reshape(t.g, image(&t, 0, 6, 5, 7), 4, (int64_t[]){2, 10, 3, 7}));
	begin(&t);
	check(&t, kc_reshape(t.g, given(&t, 0, 0, 1 << 30, KC_TYPE(KC_I32, 2, 6, 5, 7)), 4,
			     (int64_t[]){2, 10, 3, 7}));
	begin(&t);
	check(&t, kc_expand_to(t.g, given(&t, 0, -1, 1, REAL(2, 1, 5, 1)),
			       &wide));
	begin(&t);
	check(&t, kc_stop(t.g, image(&t, 0, 24, 5, 3)));
	begin(&t);
	check(&t, kc_to_real(t.g, given(&t, 0, 0, 256, KC_TYPE(KC_U8, 2, 3, 5, 9)), 1.0 / 255));
}

/* Buffers end with their last element, and rows of squares begin anywhere. */
static void test_cuts(void)
{
	static const int sizes[][3] = {{9, 11, 7}, {16, 16, 16}, {70, 67, 64}, {66, 71, 65}};
	struct trial t;

	for (size_t i = 0; i < KC_COUNT(sizes); i++) {
		int64_t h = sizes[i][0], w = sizes[i][1], side = sizes[i][2];
		struct kc_tensor *x, *table;

		begin(&t);
		x = given(&t, 0, 0, 256, KC_TYPE(KC_U8, 6, 3, h, w));
		table = given(&t, 1, -2, 9, KC_TYPE(KC_I32, 3, 3));
		check(&t, kc_cut_frames(t.g, x, table, side));
		begin(&t);
		x = given(&t, 0, INT32_MIN, INT32_MAX, KC_TYPE(KC_I32, 6, 1, h, w));
		table = given(&t, 1, -2, 9, KC_TYPE(KC_I32, 3, 3));
		check(&t, kc_cut_flows(t.g, x, table, side, 1.0 / 64));
	}
}

static void test_padding(void)
{
	static const struct kc_pad_attr pads[] = {
		{KC_PAD_CONSTANT, 2, 1, 0, 3, 5, 6}, {KC_PAD_CONSTANT, -1, 2, -2, -1, 5, 6},
		{KC_PAD_REFLECT, 2, 3, 1, 4, 5, 6},  {KC_PAD_REPLICATE, 3, 0, 2, 7, 5, 6}};
	static const struct kc_slice_attr slice = {2, 1, 3, 2, 7};
	struct kc_tensor *x;
	struct trial t;

	for (size_t i = 0; i < KC_COUNT(pads); i++) {
		const struct kc_pad_attr *p = &pads[i];

		begin(&t);
		x = image(&t, 0, 8, 5, 6);
		check(&t, kc_apply(t.g, &kc_op_pad, p, &x, 1));
		begin(&t);
		x = image(&t, 0, 8, 5 + p->top + p->bottom, 6 + p->left + p->right);
		check(&t, kc_apply(t.g, &kc_op_unpad, p, &x, 1));
	}
	begin(&t);
	x = image(&t, 0, 8, 3, 6);
	check(&t, kc_apply(t.g, &kc_op_unslice, &slice, &x, 1));
}

static void test_indices(void)
{
	static const struct kc_index_attr rows = {0, 5}, axis = {1, 7};
	struct kc_tensor *in[2];
	struct trial t;

	begin(&t);
	check(&t, kc_gather(t.g, given(&t, 0, -1, 1, REAL(4, 8, 3, 2)),
			    given(&t, 1, -1, 5, KC_TYPE(KC_I32, 6))));
	begin(&t);
	in[0] = given(&t, 0, -1, 1, REAL(6, 8, 3, 2));
	in[1] = given(&t, 1, -1, 6, KC_TYPE(KC_I32, 6));
	check(&t, kc_apply(t.g, &kc_op_scatter, &rows, in, 2));
	begin(&t);
	check(&t, kc_take(t.g, image(&t, 0, 7, 3, 4),
			  given(&t, 1, -1, 8, KC_TYPE(KC_I32, 2, 1, 3, 4)), 1));
	begin(&t);
	in[0] = image(&t, 0, 1, 3, 4);
	in[1] = given(&t, 1, -1, 8, KC_TYPE(KC_I32, 2, 1, 3, 4));
	check(&t, kc_apply(t.g, &kc_op_put, &axis, in, 2));
}

/* ---- images ---- */

static void test_resampling(void)
{
	static const struct kc_resample_attr maps[] = {
		{KC_NEAREST, {5, 7}, {10, 9}, 0, 0, 0},
		{KC_BILINEAR, {5, 7}, {20, 28}, 0, 0, 0},
		{KC_BILINEAR, {9, 8}, {4, 3}, 0, 0, 0},
		{KC_BILINEAR_CORNERS, {5, 7}, {9, 4}, 0, 0, 0},
		{KC_AVERAGE, {8, 9}, {4, 5}, 3, 2, 1},
		{KC_ADAPTIVE, {7, 9}, {2, 1}, 0, 0, 0}};
	static const int64_t channels[] = {16, 3, 2};
	struct kc_tensor *x;
	struct trial t;

	for (size_t i = 0; i < 3 * KC_COUNT(maps); i++) {
		const struct kc_resample_attr *a = &maps[i / 3];

		begin(&t);
		x = image(&t, 0, channels[i % 3], a->in[0], a->in[1]);
		check(&t, kc_apply(t.g, &kc_op_resample, a, &x, 1));
		begin(&t);
		x = image(&t, 0, channels[i % 3], a->out[0], a->out[1]);
		check(&t, kc_apply(t.g, &kc_op_resample_back, a, &x, 1));
	}
}

static void test_pooling(void)
{
	static const struct kc_plane_attr plane = {5, 7};
	struct kc_tensor *in[2];
	struct trial t;

	begin(&t);
	check(&t, kc_max_pool(t.g, image(&t, 0, 16, 9, 7), .k = 3, .stride = 2, .pad = 1));
	begin(&t);
	check(&t, kc_max_pool(t.g, image(&t, 0, 3, 6, 5), .k = 2));
	begin(&t);
	in[0] = image(&t, 0, 16, 5, 7);
	in[1] = given(&t, 1, 0, 35, KC_TYPE(KC_I32, 2, 16, 3, 4));
	check(&t, kc_apply(t.g, &kc_op_plane_take, &plane, in, 2));
	begin(&t);
	in[0] = image(&t, 0, 16, 6, 8);
	in[1] = given(&t, 1, 0, 35, KC_TYPE(KC_I32, 2, 16, 6, 8));
	check(&t, kc_apply(t.g, &kc_op_plane_put, &plane, in, 2));
}

/* Inside, at the borders and far outside; with derivatives by the position. */
static void test_sampling(void)
{
	static const struct kc_sample_attr kinds[] = {
		{1, 1, 0, 0, {6, 9}}, {1, 0, 1, 0, {6, 9}}, {0, 0, 0, 1, {6, 9}},
		{0, 1, 1, 1, {6, 9}}};
	static const double reach[] = {3, 40};
	static const int64_t channels[] = {16, 3, 2};
	struct kc_tensor *in[2];
	struct trial t;

	for (size_t i = 0; i < 6 * KC_COUNT(kinds); i++) {
		const struct kc_sample_attr *a = &kinds[i / 6];
		double far = reach[i % 2];
		int64_t c = channels[i / 2 % 3];

		begin(&t);
		in[0] = image(&t, 0, c, 6, 9);
		in[1] = given(&t, 1, -far, far, REAL(2, 2, 5, 7));
		check(&t, kc_apply(t.g, &kc_op_sample, a, in, 2));
		begin(&t);
		in[0] = image(&t, 0, c, 5, 7);
		in[1] = given(&t, 1, -far, far, REAL(2, 2, 5, 7));
		check(&t, kc_apply(t.g, &kc_op_sample_back, a, in, 2));
	}
}

/* An input that is not a number is seen behind y, whatever the sums are made of. */
static void check_nan(struct trial *t, struct kc_tensor *y, bool deterministic)
{
	bool seen = false;

	t->y = y;
	t->form = CHANNELS_LAST;
	t->input_type = t->output_type = KC_F32;
	place(t);
	kc_put(&t->in[0], 3, NAN);
	run(t, deterministic, 1);
	for (int64_t i = 0; i < kc_numel(&t->out[0].type); i++)
		seen |= isnan(kc_get(&t->out[0], i));
	KC_CHECK(seen);
	unplace(t);
	end(t);
}

static void test_not_a_number(void)
{
	static const struct kc_sample_attr a = {1, 1, 0, 0, {4, 4}};
	struct kc_tensor *in[2];
	struct trial t;

	for (int deterministic = 0; deterministic < 2; deterministic++) {
		begin(&t);
		in[0] = image(&t, 0, 4, 4, 4);
		in[1] = given(&t, 1, -1, 1, REAL(2, 2, 4, 4));
		check_nan(&t, kc_apply(t.g, &kc_op_sample_back, &a, in, 2), deterministic);
	}
	begin(&t);
	check_nan(&t, kc_max_pool(t.g, image(&t, 0, 3, 4, 4), .k = 2), false);
}

/* ---- motion ---- */

static void correlations(int64_t c, int64_t h, int64_t w, int64_t reach, int64_t step)
{
	const struct kc_correlation_attr a = {reach, step};
	int64_t side = 2 * (reach / step) + 1;
	struct kc_tensor *in[2];
	struct trial t;

	begin(&t);
	check(&t, kc_correlation(t.g, image(&t, 0, c, h, w), image(&t, 1, c, h, w), reach, step));
	for (int k = 0; k < 2; k++) {
		const struct kc_op *op = k ? &kc_op_correlation_b : &kc_op_correlation_a;

		begin(&t);
		in[0] = image(&t, 0, side * side, h, w);
		in[1] = image(&t, 1, c, h, w);
		check(&t, kc_apply(t.g, op, &a, in, 2));
	}
}

static void test_correlation(void)
{
	correlations(16, 2, 35, 20, 2);
	correlations(24, 3, 9, 4, 1);
	correlations(7, 4, 5, 3, 1);
	correlations(2, 1, 39, 35, 1);
}

static void test_channel_norm(void)
{
	static const int64_t channels[] = {2, 24, 70};
	struct trial t;

	for (size_t i = 0; i < KC_COUNT(channels); i++) {
		begin(&t);
		check(&t, kc_channel_norm(t.g, image(&t, 0, channels[i], 7, 6)));
	}
}

/* ---- colour ---- */

static void test_colour(void)
{
	struct trial t;

	begin(&t);
	check(&t, kc_rgb_to_lab(t.g, given(&t, 0, 0, 1, REAL(2, 3, 5, 4))));
	begin(&t);
	check(&t, kc_lab_to_rgb(t.g, given(&t, 0, 5, 90, REAL(2, 3, 5, 4))));
	begin(&t);
	check(&t, kc_lab_to_rgb_fit(t.g, given(&t, 0, -60, 90, REAL(2, 3, 5, 4))));
	begin(&t);
	check(&t, kc_soft_encode(t.g, given(&t, 0, -70, 70, REAL(2, 2, 3, 4))));
	begin(&t);
	check(&t, kc_hard_encode(t.g, given(&t, 0, -1.1, 1.1, REAL(2, 2, 3, 4))));
	begin(&t);
	check(&t, kc_constant(t.g, kc_bins_b, REAL(1, KC_BINS, 1, 1)));
}

const struct kc_test kc_tests_cuda_kernels[] = {
	{"copies of boxes and transpositions", test_moves},
	{"squares out of frames and stored flows", test_cuts},
	{"padding and its adjoint", test_padding},
	{"elements by index", test_indices},
	{"resizing and average pooling", test_resampling},
	{"max pooling and moves within planes", test_pooling},
	{"sampling and its transpose", test_sampling},
	{"what is not a number is seen", test_not_a_number},
	{"correlation and its parts", test_correlation},
	{"norm over channels", test_channel_norm},
	{"colour and bins", test_colour},
	{0}};
