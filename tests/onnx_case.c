/*
 * onnx_case NETWORK HEIGHT WIDTH ALLOWED MODEL CASE
 *
 * For tests/onnx.sh: a network with the weights of the formula.  Writes MODEL unless it is there,
 * so that one model can be run at several sizes; runs it in ONNX Runtime and here.  Exit status
 * 0 when no output differs by more than ALLOWED, 77 when there is no ONNX Runtime.
 */
#include "core/file.h"
#include "eval/onnx_model.h"
#include "layers/cpu/cpu.h"
#include "weights/formula.h"

#include <stdio.h>
#include <stdlib.h>

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

	KC_TRY(kc_onnx_model_open(m, &args));
	KC_TRY(fill(m));
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
		return rc == KC_ENOSUP ? 77 : 1;
	}
	printf("%-12s %sx%s  largest difference %.3g, allowed %s\n", argv[1], argv[2], argv[3],
	       worst, argv[4]);
	return worst <= strtod(argv[4], NULL) ? 0 : 1;
}
