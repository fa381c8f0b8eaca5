/*
 * onnx_case NETWORK HEIGHT WIDTH ALLOWED MODEL CASE
 *
 * For tests/onnx.sh: a network with the weights of the formula, or "operators", a graph of what
 * exporters know.  Writes MODEL unless it is there, so that one model can be run at several sizes;
 * runs it in ONNX Runtime and here.  Exit status 0 when no output differs by more than ALLOWED.
 */
#include "core/file.h"
#include "eval/onnx_model.h"
#include "layers/cpu/cpu.h"
#include "weights/formula.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- a graph of operators ---- */

static void output(struct kc_onnx_model *m, const char *name, struct kc_tensor *t)
{
	m->out_name[m->n_out] = name;
	m->out[m->n_out++] = t;
}

/* Every pointwise operator, on numbers that its formula takes. */
static struct kc_tensor *pointwise(struct kc_graph *g, struct kc_tensor *const *in)
{
	static const double q[KC_PW_COUNT] = {[KC_PW_affine] = 0.25, [KC_PW_clamp] = 0.2,
					      [KC_PW_inside] = 0.2, [KC_PW_step] = 0.1};
	static const double p[KC_PW_COUNT] = {
		[KC_PW_affine] = -1.5, [KC_PW_pow] = 2.5, [KC_PW_clamp] = -0.1,
		[KC_PW_inside] = -0.1, [KC_PW_step] = 0.3, [KC_PW_leaky] = 0.1,
		[KC_PW_elu] = 0.7, [KC_PW_elu_slope] = 0.7, [KC_PW_above] = 0.5,
	};
	struct kc_tensor *y[KC_PW_COUNT], *u, *v, *halves;

	halves = kc_scale(g, kc_pw1(g, KC_PW_floor, 0, 0, kc_scale(g, in[0], 8)), 0.5);
	for (int op = 0; op < KC_PW_COUNT; op++) {
		u = in[0];
		v = in[1];
		if (op == KC_PW_log || op == KC_PW_sqrt || op == KC_PW_rsqrt || op == KC_PW_pow ||
		    op == KC_PW_recip || op == KC_PW_div) {
			u = kc_shift(g, u, 1);
			v = kc_shift(g, v, 1);
		}
		if (op == KC_PW_above || op == KC_PW_equal || op == KC_PW_round ||
		    op == KC_PW_select || op == KC_PW_sign) {
			u = halves;
			v = kc_pw1(g, KC_PW_round, 0, 0, kc_scale(g, v, 4));
		}
		y[op] = kc_pw_ops[op].n_in_min == 1 ? kc_pw1(g, (enum kc_pw)op, p[op], q[op], u)
		      : kc_pw_ops[op].n_in_min == 2 ? kc_pw2(g, (enum kc_pw)op, p[op], q[op], u, v)
		      : kc_pw3(g, (enum kc_pw)op, p[op], q[op], u, v, in[2]);
	}
	return kc_concat(g, 1, y, KC_PW_COUNT);
}

static struct kc_tensor *repeated(struct kc_graph *g, struct kc_tensor *x)
{
	struct kc_type each = KC_TYPE(KC_REAL, 1, x->type.dim[1], 1, 1);
	struct kc_tensor *mean = kc_scale(g, kc_sum_to(g, x, &each), 1e-3);
	struct kc_tensor *one = kc_fill(g, 0.5, x->type);

	return KC_CONCAT(g, 1, kc_mul(g, x, mean), kc_expand_to(g, mean, &x->type), one,
			 kc_sub(g, kc_expand_to(g, mean, &x->type), one),
			 kc_add(g, x, kc_scale(g, kc_mean(g, x), 0.5)));
}

static struct kc_tensor *moved(struct kc_graph *g, struct kc_tensor *x)
{
	const int64_t *d = x->type.dim;
	struct kc_tensor *part[2], *y = kc_permute(g, x, (int[]){0, 1, 3, 2});

	kc_split(g, y, 2, 2, part);
	y = KC_CONCAT(g, 2, part[1], part[0]);
	y = kc_reshape(g, y, 3, (int64_t[]){2, d[1] / 2, d[2] * d[3]});
	y = kc_add(g, kc_softmax(g, y, 2), kc_log_softmax(g, y, 1));
	y = kc_pixel_shuffle(g, kc_reshape(g, y, 4, d), 2);
	y = kc_reshape(g, y, 4, d);
	return KC_CONCAT(g, 1, kc_slice(g, y, 3, 1, d[3] / 2, 2),
			 kc_slice(g, y, 3, 0, d[3] / 2, 1));
}

static struct kc_tensor *resized(struct kc_graph *g, struct kc_tensor *x)
{
	int64_t h = 2 * x->type.dim[2], w = 3 * x->type.dim[3];
	struct kc_tensor *small = kc_resize_bilinear(g, x, h / 4, w / 6, false);

	return KC_CONCAT(g, 1, kc_resize_nearest(g, x, h, w),
			 kc_resize_bilinear(g, x, h, w, false),
			 kc_resize_bilinear(g, x, h, w, true),
			 kc_resize_bilinear(g, small, h, w, true));
}

static struct kc_tensor *sampled(struct kc_graph *g, struct kc_tensor *x, struct kc_tensor *at)
{
	struct kc_tensor *flow = kc_scale(g, kc_slice(g, at, 1, 0, 2, 1), 20);
	struct kc_tensor *grid = kc_scale(g, kc_permute(g, kc_slice(g, at, 1, 0, 2, 1),
							(int[]){0, 2, 3, 1}), 3);

	return KC_CONCAT(g, 1, kc_warp(g, x, flow), kc_grid_sample(g, x, grid, false),
			 kc_grid_sample(g, x, grid, true), kc_channel_norm(g, x),
			 kc_correlation(g, x, at, 4, 2));
}

static int open_operators(struct kc_onnx_model *m, int64_t h, int64_t w)
{
	static const char *const names[] = {"u", "v", "w"};
	struct kc_graph *g = kc_graph_new(&kc_layers);

	*m = (struct kc_onnx_model){.name = "operators", .graph = g,
				    .params = kc_params_new(KC_F32)};
	if (!g || !m->params)
		return KC_ENOMEM;
	for (; m->n_in < 3; m->n_in++)
		m->in[m->n_in] = kc_input(g, names[m->n_in], KC_TYPE(KC_REAL, 1, 4, h, w));
	output(m, "pointwise", pointwise(g, m->in));
	output(m, "repeated", repeated(g, m->in[0]));
	output(m, "moved", moved(g, m->in[0]));
	output(m, "resized", resized(g, m->in[0]));
	output(m, "sampled", sampled(g, m->in[0], m->in[1]));
	KC_TRY(kc_graph_status(g));
	return kc_params_alloc(m->params, false, false);
}

/* ---- a network ---- */

static int fill(struct kc_onnx_model *m)
{
	for (size_t i = 0; i < m->params->n; i++) {
		const struct kc_param *v = m->params->v[i];
		struct kc_formula f = {.net = m->name, .name = v->name, .kind = v->kind,
				       .ndim = v->type.ndim, .dim = v->type.dim,
				       .stride = v->stride};

		KC_TRY(kc_formula_fill_f32(&f, kc_param_master(v).data));
		kc_param_changed(m->params->v[i]);
	}
	return 0;
}

static int compare(struct kc_onnx_model *m, char **argv, double *worst)
{
	const char *model = argv[5], *file = argv[6];
	struct kc_device device;
	const struct kc_onnx_model_args args = {
		.network = argv[1], .height = strtol(argv[2], NULL, 10),
		.width = strtol(argv[3], NULL, 10),
	};
	int rc;

	if (!strcmp(argv[1], "operators")) {
		KC_TRY(open_operators(m, args.height, args.width));
	} else {
		KC_TRY(kc_onnx_model_open(m, &args));
		KC_TRY(fill(m));
	}
	if (!kc_file_exists(model))
		KC_TRY(kc_onnx_model_save(m, model));
	KC_TRY(kc_device_cpu(&device, 0));
	rc = kc_onnx_model_case(m, &device, file);
	kc_device_release(&device);
	return rc < 0 ? rc : kc_onnx_verify(model, file, worst);
}

int main(int argc, char **argv)
{
	struct kc_onnx_model m = {0};
	double worst = 0;
	int rc;

	if (argc != 7) {
		fputs("usage: onnx_case NETWORK HEIGHT WIDTH ALLOWED MODEL CASE\n", stderr);
		return 2;
	}
	rc = compare(&m, argv, &worst);
	kc_onnx_model_close(&m);
	if (rc < 0) {
		fprintf(stderr, "onnx_case: %s\n", kc_errmsg());
		return 1;
	}
	printf("%-12s %sx%s  largest difference %.3g, allowed %s\n", argv[1], argv[2], argv[3],
	       worst, argv[4]);
	return worst <= strtod(argv[4], NULL) ? 0 : 1;
}
