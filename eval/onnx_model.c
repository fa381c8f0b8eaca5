#include "eval/onnx_model.h"

#include "core/random.h"
#include "models/eccv16.h"
#include "models/flownet2.h"
#include "models/tcvc.h"
#include "models/width.h"
#include "weights/onnx.h"
#include "weights/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the networks ---- */

static struct kc_tensor *input(struct kc_onnx_model *m, const char *name, int64_t channels,
			       const struct kc_onnx_model_args *a)
{
	struct kc_type t = KC_TYPE(KC_REAL, 1, channels, a->height, a->width);

	KC_ASSERT(m->n_in < KC_ONNX_PORTS);
	return m->in[m->n_in++] = kc_input(m->graph, name, t);
}

static void output(struct kc_onnx_model *m, const char *name, struct kc_tensor *t)
{
	KC_ASSERT(m->n_out < KC_ONNX_PORTS);
	m->out_name[m->n_out] = name;
	m->out[m->n_out++] = t;
}

static void build_siggraph17(struct kc_onnx_model *m, const struct kc_onnx_model_args *a)
{
	const struct kc_siggraph17_args args = {.width = a->factor, .mask_cent = a->mask_cent};
	struct kc_siggraph17 y = kc_siggraph17(&m->model, input(m, "l", 1, a), &args);

	output(m, "ab", y.ab);
	output(m, "feature", y.feature);
	output(m, "logits", y.logits);
}

static void build_eccv16(struct kc_onnx_model *m, const struct kc_onnx_model_args *a)
{
	const struct kc_eccv16_args args = {.temperature = a->temperature, .width = a->factor};
	struct kc_eccv16 y = kc_eccv16(&m->model, input(m, "l", 1, a), &args);

	output(m, "ab", y.ab);
	output(m, "logits", y.logits);
}

static void build_tcvc(struct kc_onnx_model *m, const struct kc_onnx_model_args *a)
{
	static const char *const luma[] = {"l_before", "l", "l_after"};
	int64_t channels = kc_width(a->factor, 128);
	struct kc_tcvc_neighbours from;
	struct kc_tensor *l[3];
	struct kc_tcvc_step y;

	for (int i = 0; i < 3; i++)
		l[i] = input(m, luma[i], 1, a);
	from.previous = input(m, "feature_before", channels, a);
	from.next = input(m, "feature_after", channels, a);
	from.to_previous = input(m, "flow_before", 2, a);
	from.to_next = input(m, "flow_after", 2, a);
	y = kc_tcvc_step(&m->model, l, &from, &(struct kc_tcvc_args){.width = a->factor});
	output(m, "ab", y.ab);
	output(m, "feature", y.feature);
	output(m, "feature_back", y.backward);
}

static void build_flownet2(struct kc_onnx_model *m, const struct kc_onnx_model_args *a)
{
	struct kc_tensor *first = input(m, "first", 3, a), *second = input(m, "second", 3, a);

	output(m, "flow", kc_flownet2(&m->model, first, second, 1, 0));
}

static const struct {
	const char *name;
	bool free_sides;
	void (*build)(struct kc_onnx_model *, const struct kc_onnx_model_args *);
} networks[] = {
	{"siggraph17", true, build_siggraph17}, {"eccv16", true, build_eccv16},
	{"tcvc", true, build_tcvc}, {"flownet2", false, build_flownet2},
};

int kc_onnx_model_open(struct kc_onnx_model *m, const struct kc_onnx_model_args *a)
{
	*m = (struct kc_onnx_model){.graph = kc_graph_new(&kc_layers)};
	m->params = kc_params_new(KC_F32);
	if (!m->graph || !m->params)
		return KC_ENOMEM;
	m->model = (struct kc_model){.g = m->graph, .params = m->params};
	for (size_t i = 0; i < KC_COUNT(networks); i++)
		if (!strcmp(a->network, networks[i].name)) {
			m->name = networks[i].name;
			m->free_sides = networks[i].free_sides;
			networks[i].build(m, a);
		}
	if (!m->name)
		return KC_FAIL(KC_ENOENT, "%s has no ONNX form", a->network);
	KC_TRY(kc_graph_status(m->graph));
	return kc_params_alloc(m->params, false, false);
}

void kc_onnx_model_close(struct kc_onnx_model *m)
{
	kc_model_release(&m->model);
	kc_graph_free(m->graph);
	kc_params_free(m->params);
	*m = (struct kc_onnx_model){0};
}

int kc_onnx_model_save(const struct kc_onnx_model *m, const char *path)
{
	struct kc_onnx_port in[KC_ONNX_PORTS], out[KC_ONNX_PORTS];
	const struct kc_onnx_pair about[] = {{"model", m->name}};
	const struct kc_onnx_args args = {
		.name = m->name, .inputs = in, .outputs = out, .n_inputs = m->n_in,
		.n_outputs = m->n_out, .free_sides = m->free_sides, .meta = about,
		.n_meta = KC_COUNT(about),
	};

	for (int i = 0; i < m->n_in; i++)
		in[i] = (struct kc_onnx_port){kc_input_name(m->in[i]), m->in[i]};
	for (int i = 0; i < m->n_out; i++)
		out[i] = (struct kc_onnx_port){m->out_name[i], m->out[i]};
	return kc_onnx_save(path, m->graph, &args);
}

/* ---- what it computes ---- */

struct port { char name[32]; float *data; struct kc_type type; };

static int port_init(struct port *p, const char *kind, const char *name, const struct kc_tensor *t)
{
	p->type = t->type;
	p->type.dtype = KC_F32;
	snprintf(p->name, sizeof p->name, "%s.%s", kind, name);
	p->data = kc_calloc((size_t)kc_numel(&p->type), sizeof *p->data);
	return p->data ? 0 : KC_ENOMEM;
}

/* Smooth waves with noise, in [-0.5, 0.5]; images in [0, 1]; flows of a few pixels. */
static void invent(struct port *p, uint64_t sample)
{
	int64_t h = p->type.dim[2], w = p->type.dim[3], n = kc_numel(&p->type);
	bool is_flow = strstr(p->name, "flow_") != NULL, is_image = p->type.dim[1] == 3;
	struct kc_random r;

	kc_random_init(&r, 1, KC_STREAM_TEST, sample, 0);
	for (int64_t i = 0; i < n; i++) {
		int64_t y = i / w % h, x = i % w, c = i / (h * w);
		double v = 0.2 * sin(0.07 * (double)x + 0.9 * (double)c) +
			   0.2 * cos(0.05 * (double)y - 0.4 * (double)c) +
			   0.2 * (kc_random_unit(&r) - 0.5);

		p->data[i] = (float)(is_flow ? 12 * v : is_image ? v + 0.5 : v);
	}
}

static int feed(struct kc_plan *plan, struct kc_tensor *t, struct port *p)
{
	struct kc_buf b = kc_buf_of(p->data, &p->type, KC_PLAIN);

	return kc_plan_feed(plan, t, &b);
}

static int run(const struct kc_onnx_model *m, struct kc_plan *plan, struct port *in,
	       struct port *out)
{
	for (int i = 0; i < m->n_in; i++) {
		KC_TRY(port_init(&in[i], "in", kc_input_name(m->in[i]), m->in[i]));
		invent(&in[i], (uint64_t)i);
		KC_TRY(feed(plan, m->in[i], &in[i]));
	}
	KC_TRY(kc_plan_run(plan));
	for (int i = 0; i < m->n_out; i++) {
		struct kc_buf b;

		KC_TRY(port_init(&out[i], "out", m->out_name[i], m->out[i]));
		b = kc_buf_of(out[i].data, &out[i].type, KC_PLAIN);
		KC_TRY(kc_plan_read(plan, m->out[i], &b));
	}
	return 0;
}

static int save_ports(const char *path, const struct port *ports, int n)
{
	struct kc_st_item items[2 * KC_ONNX_PORTS];

	for (int i = 0; i < n; i++) {
		items[i] = (struct kc_st_item){ports[i].name, KC_ST_F32, ports[i].type.ndim, {0},
					       ports[i].data};
		memcpy(items[i].dim, ports[i].type.dim,
		       (size_t)ports[i].type.ndim * sizeof(int64_t));
	}
	return kc_st_save(path, items, (size_t)n, NULL, 0);
}

int kc_onnx_model_case(const struct kc_onnx_model *m, struct kc_device *device, const char *path)
{
	struct port ports[2 * KC_ONNX_PORTS] = {0};
	struct kc_plan_opts opts = {0};
	struct kc_plan *plan = NULL;
	int rc = kc_plan_build(&plan, m->graph, device, m->out, m->n_out, &opts);

	if (!rc)
		rc = run(m, plan, ports, ports + m->n_in);
	if (!rc)
		rc = save_ports(path, ports, m->n_in + m->n_out);
	for (size_t i = 0; i < KC_COUNT(ports); i++)
		free(ports[i].data);
	kc_plan_free(plan);
	return rc;
}
