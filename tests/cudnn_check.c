/*
 * build/cudnn_check [-v] [GPU]: asks cuDNN, without any GPU, whether it can run every convolution
 * of every network and of every case of tests/op_cases.c on the GPUs that there are, or on those
 * whose name contains GPU.  The plans are built on a device that only listens, with pads of
 * channels and without; for every distinct signature and every described GPU there must be a
 * deterministic engine that is not compiled at run time.  Prints a table per GPU and what pads save
 * there in a step of TCVC; -v: every signature, too.
 */
#include "core/plan.h"
#include "layers/cuda/cudnn_cache.h"
#include "layers/cuda/libraries.h"
#include "models/eccv16.h"
#include "models/flownet2.h"
#include "models/patchgan.h"
#include "models/tcvc.h"
#include "models/vgg.h"
#include "tests/op_trial.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- GPUs ---- */

/* What cuDNN reads of a device, and requires of its description; figures of the vendor. */
struct gpu {
	const char *name;
	int version, sms, shared, threads_sm, blocks_sm, clock_khz, memory_khz;
	long long l2, memory;
};

static const struct gpu gpus[] = {
	{"NVIDIA A100-SXM4-80GB", 800, 108, 166912, 2048, 32, 1410000, 1593000, 41943040,
	 85899345920},
	{"NVIDIA L4", 890, 58, 101376, 1536, 24, 2040000, 6251000, 50331648, 24152899584},
	{"NVIDIA H200", 900, 132, 232448, 2048, 32, 1980000, 3201000, 62914560, 150754820096},
	{"NVIDIA B200", 1000, 148, 232448, 2048, 32, 1965000, 3996000, 132644864, 191503138816},
	{"NVIDIA GeForce RTX 5090", 1200, 170, 101376, 1536, 24, 2407000, 14001000, 100663296,
	 34190458880},
};

static void describe_gpu(const struct gpu *g, char *json, size_t size)
{
	snprintf(json, size,
		 "{\"deviceVer\":%d,\"multiProcessorCount\":%d,\"warpSize\":32,"
		 "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":%d,"
		 "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,"
		 "\"maxCtasPerSM\":%d,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":%d,"
		 "\"regsPerBlock\":65536,\"totalGlobalMem\":%lld,\"smClockRateKHz\":%d,"
		 "\"l2CacheSize\":%lld,\"maxBlockSize\":[1024,1024,64],\"memClockRateKHz\":%d,"
		 "\"maxGridSize\":[2147483647,65535,65535],\"supportCoopLaunch\":1,"
		 "\"pciDeviceId\":0,\"isTccDriver\":0,\"cudaDeviceId\":0,\"driverVer\":13000,"
		 "\"deviceName\":\"%s\"}",
		 g->version, g->sms, g->shared, g->blocks_sm, g->threads_sm, g->memory,
		 g->clock_khz, g->l2, g->memory_khz, g->name);
}

/* ---- signatures ---- */

static struct {
	struct kc_cudnn_conv *v;
	int64_t *workspace;             /* of each, where it was asked for last */
	size_t n, room, more;
	long steps, unfit;
} heard;

/* The convolutions of one training step, in bf16: which signature each has. */
static struct step { size_t *v, n, room; } tcvc_step[2], *recorded;

static void print_unfit(const struct kc_step_info *info)
{
	char text[96];

	printf("no row for %s:", info->op->name);
	for (int i = 0; i < info->n_in; i++)
		printf(" %s %s%s", kc_dtype_name((enum kc_dtype)info->in[i].type.dtype),
		       kc_dims_text(&info->in[i].type, text),
		       kc_is_dense(&info->in[i], KC_CLAST)   ? " channels-last"
		       : kc_is_dense(&info->in[i], KC_PLAIN) ? " row-major"
							     : " strided");
	printf(" -> %s %s\n", kc_dtype_name((enum kc_dtype)info->out[0].type.dtype),
	       kc_dims_text(&info->out[0].type, text));
}

static size_t signature(const struct kc_cudnn_conv *c)
{
	size_t i = 0;

	while (i < heard.n && memcmp(&heard.v[i], c, sizeof *c))
		i++;
	if (i < heard.n)
		return i;
	KC_ASSERT(!kc_make_room(&heard.v, heard.n, &heard.room, sizeof *c) &&
		  !kc_make_room(&heard.workspace, heard.n, &heard.more, sizeof *heard.workspace));
	heard.v[heard.n] = *c;
	return heard.n++;
}

static void hear(const struct kc_step_info *info, const struct kc_kernel *row)
{
	struct kc_cudnn_conv c;
	size_t i;

	heard.steps++;
	if (!row->fits(info)) {
		heard.unfit++;
		print_unfit(info);
		return;
	}
	kc_cudnn_conv_of(&c, info, false);
	i = signature(&c);
	if (recorded && c.in == KC_BF16) {
		KC_ASSERT(!kc_make_room(&recorded->v, recorded->n, &recorded->room,
					sizeof *recorded->v));
		recorded->v[recorded->n++] = i;
	}
}

/* The device's rows, which never fit, but those of convolutions have seen the step. */
enum { MAX_ROWS = 256 };
static struct kc_kernel listener[MAX_ROWS];
static const struct kc_kernel *listeners[MAX_ROWS + 1];

static bool only_hear(const struct kc_step_info *info)
{
	for (const struct kc_kernel *const *row = kc_cuda_library_rows; *row; row++)
		if ((*row)->op == info->op && info->op != &kc_op_matmul)
			hear(info, *row);
	return false;
}

/* Images get pads, or none. */
static void listen_with(bool pads)
{
	const struct kc_kernel *const *rows = kc_cuda_rows();

	for (int i = 0; rows[i]; i++) {
		KC_ASSERT(i < MAX_ROWS);
		listener[i] = *rows[i];
		listener[i].fits = only_hear;
		listener[i].pitch = pads ? rows[i]->pitch : NULL;
		listeners[i] = &listener[i];
	}
}

/* ---- networks ---- */

enum { SIDE = 256, FRAMES = 7 };

static struct kc_tensor *images(struct kc_model *m, const char *name, int64_t n, int64_t channels)
{
	return kc_input(m->g, name, KC_TYPE(KC_REAL, n, channels, SIDE, SIDE));
}

static struct kc_tensor *siggraph17(struct kc_model *m, int64_t n)
{
	struct kc_siggraph17 s = kc_siggraph17(m, images(m, "l", n, 1), NULL);

	return kc_add(m->g, kc_sum(m->g, s.ab), kc_sum(m->g, s.logits));
}

static struct kc_tensor *eccv16(struct kc_model *m, int64_t n)
{
	struct kc_eccv16 e = kc_eccv16(m, images(m, "l", n, 1), NULL);

	return kc_add(m->g, kc_sum(m->g, e.ab), kc_sum(m->g, e.logits));
}

static struct kc_tensor *flownet2(struct kc_model *m, int64_t n)
{
	return kc_sum(m->g, kc_flownet2(m, images(m, "a", n, 3), images(m, "b", n, 3), 1, 0));
}

static struct kc_tensor *tcvc(struct kc_model *m, int64_t n)
{
	static const int steps[] = {1, 2};
	const struct kc_tcvc_args args = {.frames = FRAMES, .steps = steps, .n_steps = 2,
					  .pairs_per_call = (int)(4 * n)};

	return kc_sum(m->g, kc_tcvc(m, images(m, "l", FRAMES * n, 1), &args).ab);
}

static struct kc_tensor *patchgan(struct kc_model *m, int64_t n)
{
	const struct kc_patchgan_args args = {.kind = KC_PATCHGAN, .norm = KC_PATCHGAN_BATCH,
					      .attention = true};

	return kc_sum(m->g, kc_patchgan(m, images(m, "lab", n, 3), &args).score);
}

static struct kc_tensor *tpatchgan(struct kc_model *m, int64_t n)
{
	const struct kc_patchgan_args args = {.kind = KC_TPATCHGAN};
	struct kc_tensor *x =
		kc_input(m->g, "clip", KC_TYPE(KC_REAL, n, 3, FRAMES, SIDE, SIDE));

	return kc_sum(m->g, kc_patchgan(m, x, &args).score);
}

/* To its last convolution; perceptual losses need the gradients by its input. */
static struct kc_tensor *vgg19(struct kc_model *m, int64_t n)
{
	struct kc_tensor *out;
	int64_t last = 0;

	for (int64_t i = 0; i < 64; i++)
		last = kc_vgg_has(KC_VGG19, i) ? i : last;
	kc_vgg(m, images(m, "rgb", n, 3), KC_VGG19, &last, 1, &out);
	return kc_sum(m->g, out);
}

static const struct network {
	const char *name;
	struct kc_tensor *(*build)(struct kc_model *, int64_t batch);
	bool train;
} networks[] = {
	{"siggraph17", siggraph17, false}, {"siggraph17, training", siggraph17, true},
	{"eccv16", eccv16, false}, {"eccv16, training", eccv16, true},
	{"flownet2", flownet2, false}, {"tcvc, training", tcvc, true},
	{"patchgan, training", patchgan, true}, {"tpatchgan, training", tpatchgan, true},
	{"vgg19, training", vgg19, true},
};

/* The value and, in training, the gradients of all parameters. */
static int listen(struct kc_graph *g, struct kc_params *params, struct kc_tensor *y, bool train,
		  bool low)
{
	const struct kc_plan_opts opts = {.low = low, .deterministic = true};
	struct kc_tensor **wrt = kc_calloc(params->n, sizeof *wrt);
	struct kc_tensor **fetch = kc_calloc(params->n + 1, sizeof *fetch);
	struct kc_device device;
	struct kc_plan *plan = NULL;
	int n = 0, rc = wrt && fetch ? kc_params_alloc(params, false, false) : KC_ENOMEM;

	kc_device_reference(&device);
	device.kernels = listeners;
	for (size_t i = 0; train && !rc && i < params->n; i++)
		if (params->v[i]->trainable)
			wrt[n++] = kc_param_value(g, params->v[i]);
	if (!rc && train)
		rc = kc_grad(g, y, NULL, wrt, n, fetch + 1);
	if (!rc) {
		fetch[0] = y;
		rc = kc_plan_build(&plan, g, &device, fetch, n + 1, &opts);
	}
	kc_plan_free(plan);
	kc_device_release(&device);
	free(wrt);
	free(fetch);
	return rc;
}

static int hear_network(const struct network *net, int64_t batch, bool low)
{
	struct kc_graph *g = kc_graph_new(&kc_layers);
	struct kc_params *params = kc_params_new(KC_F32);
	struct kc_model m = {.g = g, .params = params, .frozen = !net->train, .train = net->train};
	int rc = KC_ENOMEM;

	if (g && params)
		rc = listen(g, params, net->build(&m, batch), net->train, low);
	kc_params_free(params);
	kc_model_release(&m);
	kc_graph_free(g);
	return rc;
}

static int hear_sizes(const struct network *net, bool low, bool pads)
{
	listen_with(pads);
	KC_TRY(hear_network(net, 1, low));
	if (low && net->build == tcvc)
		recorded = &tcvc_step[pads];
	KC_TRY(hear_network(net, 4, low));
	recorded = NULL;
	return 0;
}

/* The cases that tools/gpu-check runs, with their derivatives. */
static int hear_case(const struct op_row *row, enum op_form form, bool low)
{
	const struct kc_plan_opts opts = {.real = KC_F32, .low = low, .deterministic = true};
	struct kc_device device;
	struct trial t;
	int rc = trial_build(&t, row, form, KC_F32);

	kc_device_reference(&device);
	device.kernels = listeners;
	if (!rc)
		rc = kc_plan_build(&t.plan, t.b.g, &device, t.value, t.n_value, &opts);
	trial_release(&t);
	kc_device_release(&device);
	return rc < 0 ? kc_cause(rc, "%s, %s", row->op, row->name) : 0;
}

static int hear_cases(void)
{
	for (const struct op_row *row = op_rows; row->op; row++)
		for (int pads = 0; pads < 2; pads++) {
			listen_with(pads);
			for (int form = OP_DENSE; form <= OP_TURNED; form++)
				KC_TRY(hear_case(row, (enum op_form)form, false));
			KC_TRY(hear_case(row, OP_DENSE, true));
		}
	return 0;
}

static int hear_all(void)
{
	size_t before;

	for (size_t i = 0; i < KC_COUNT(networks); i++) {
		before = heard.n;
		KC_TRY(hear_sizes(&networks[i], false, false));
		KC_TRY(hear_sizes(&networks[i], true, false));
		KC_TRY(hear_sizes(&networks[i], true, true));
		printf("%-22s %4zu new signatures\n", networks[i].name, heard.n - before);
	}
	before = heard.n;
	KC_TRY(hear_cases());
	printf("%-22s %4zu new signatures\n", "cases of operators", heard.n - before);
	printf("%zu signatures of %ld steps; %ld steps are left to other kernels\n", heard.n,
	       heard.steps, heard.unfit);
	return heard.n && !heard.unfit ? 0 : KC_FAIL(KC_ESHAPE, "a step fits no row");
}

/* ---- support ---- */

struct row {
	int signatures, none, form[KC_FORMS];
	double workspace;               /* bytes of the largest */
	char largest[KC_CUDNN_KEY];
};

static const char *const form_name[] = {"direct", "fused", "wide", "inner", "low"};

static void ask(struct kc_cudnn *lib, const struct kc_cudnn_conv *c, bool verbose, struct row *r,
		int64_t *workspace)
{
	struct kc_cudnn_choice all[KC_CUDNN_CANDIDATES];
	int n = kc_cudnn_conv_candidates(lib, c, KC_CUDNN_FIRST, all);
	unsigned refused = KC_CUDNN_NONDETERMINISTIC | KC_CUDNN_RUN_TIME_COMPILED;
	char key[KC_CUDNN_KEY];

	kc_cudnn_conv_key(c, key);
	r->signatures++;
	if (!n || (all[0].config.notes & refused)) {
		r->none++;
		printf("  no engine: %s\n", key);
		return;
	}
	*workspace = all[0].workspace;
	r->form[all[0].form]++;
	if (verbose)
		printf("  %-6s engine %3lld notes %5x workspace %8.2f MB  %s\n",
		       form_name[all[0].form], (long long)all[0].config.engine,
		       all[0].config.notes, (double)all[0].workspace / 1e6, key);
	if ((double)all[0].workspace <= r->workspace)
		return;
	r->workspace = (double)all[0].workspace;
	memcpy(r->largest, key, sizeof key);
}

enum precision { FLOAT32, TF32, BF16 };

/* One row of the table; the number of signatures without an engine. */
static int ask_about(struct kc_cudnn *lib, enum precision precision, enum kc_cudnn_pass pass,
		     bool verbose)
{
	static const char *const name[] = {"float32", "TF32", "bf16"};
	static const char *const pass_name[] = {"fprop", "dgrad", "wgrad"};
	struct row r = {0};

	for (size_t i = 0; i < heard.n; i++) {
		struct kc_cudnn_conv c = heard.v[i];

		c.tf32 = precision == TF32;
		if (c.pass == (int64_t)pass && (c.in == KC_BF16) == (precision == BF16))
			ask(lib, &c, verbose, &r, &heard.workspace[i]);
	}
	printf("%-8s %s %4d signatures, none %d;", name[precision], pass_name[pass], r.signatures,
	       r.none);
	for (int f = 0; f < KC_FORMS; f++)
		if (r.form[f])
			printf(" %s %d", form_name[f], r.form[f]);
	printf("; largest workspace %.1f MB (%s)\n", r.workspace / 1e6, r.largest);
	return r.none;
}

/* What cuDNN would copy into, mostly. */
static void print_step(const struct step *s, const char *pads)
{
	double sum = 0;
	int64_t most = 0;

	for (size_t i = 0; i < s->n; i++) {
		sum += (double)heard.workspace[s->v[i]];
		most = KC_MAX(most, heard.workspace[s->v[i]]);
	}
	printf("tcvc, training, batch 4, %zu convolutions in bf16 %s pads: workspaces of %.1f MB, "
	       "the largest %.1f MB\n", s->n, pads, sum / 1e6, (double)most / 1e6);
}

static int ask_gpu(const struct gpu *gpu, bool verbose)
{
	struct kc_cudnn *lib;
	char json[1024];
	int none = 0;

	describe_gpu(gpu, json, sizeof json);
	KC_TRY(kc_cudnn_open_described(&lib, json));
	printf("\n%s, compute capability %d.%d\n", gpu->name, gpu->version / 100,
	       gpu->version / 10 % 10);
	for (int k = 0; k < 9; k++)
		none += ask_about(lib, (enum precision)(k / 3), (enum kc_cudnn_pass)(k % 3),
				  verbose);
	print_step(&tcvc_step[0], "without");
	print_step(&tcvc_step[1], "with");
	kc_cudnn_close(lib);
	return none ? KC_FAIL(KC_ENOSUP, "%s: %d signatures have no engine", gpu->name, none) : 0;
}

int main(int argc, char **argv)
{
	bool verbose = argc > 1 && !strcmp(argv[1], "-v");
	const char *only = argc > 1 + verbose ? argv[1 + verbose] : "";
	int rc = hear_all(), bad = 0;

	printf("%s, without a device\n", kc_cudnn_version());
	for (size_t i = 0; i < KC_COUNT(gpus) && !rc; i++)
		if (strstr(gpus[i].name, only) && ask_gpu(&gpus[i], verbose) < 0) {
			fprintf(stderr, "cudnn_check: %s\n", kc_errmsg());
			bad++;
		}
	if (rc < 0)
		fprintf(stderr, "cudnn_check: %s\n", kc_errmsg());
	free(heard.v);
	free(heard.workspace);
	free(tcvc_step[0].v);
	free(tcvc_step[1].v);
	printf("cudnn_check: %d failed\n", bad);
	return rc < 0 || bad;
}
