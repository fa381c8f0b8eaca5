#include "eval/export_onnx.h"

#include "eval/onnx_model.h"
#include "layers/cpu/cpu.h"
#include "weights/load.h"

#include <stdio.h>
#include <stdlib.h>

static const double allowed = 1e-4;

/* Runs the model here and in ONNX Runtime on the same invented inputs. */
static int verify(const struct kc_onnx_model *m, const char *path)
{
	char *file = kc_format("%s.case", path);
	struct kc_device device;
	double worst = 0;
	int rc = file ? kc_device_cpu(&device, 0) : KC_ENOMEM;

	if (rc >= 0) {
		rc = kc_onnx_model_case(m, &device, file);
		kc_device_release(&device);
	}
	if (rc >= 0)
		rc = kc_onnx_verify(path, file, &worst);
	if (rc >= 0)
		printf("%s: largest difference from ONNX Runtime %.3g\n", path, worst);
	if (rc >= 0 && !(worst < allowed))
		rc = KC_FAIL(KC_ENUMERIC, "%s: ONNX Runtime computes something else: it is off by "
			     "%.3g, %g allowed", path, worst, allowed);
	if (file)
		remove(file);
	free(file);
	return rc;
}

/* A number of the metadata in (0, 1]; 0 where there is none. */
static double note(const struct kc_weights *w, const char *key)
{
	const char *text = kc_weights_note(w, key);
	double x = text ? strtod(text, NULL) : 0;

	return x > 0 && x <= 1 ? x : 0;
}

static int load(const struct kc_onnx_model *m, const struct kc_weights *w)
{
	size_t n = m->params->n;
	struct kc_load_dest *d = kc_calloc(n, sizeof *d);
	int rc;

	if (!d)
		return KC_ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct kc_param *p = m->params->v[i];

		d[i] = (struct kc_load_dest){p->name, p->type.ndim, p->type.dim,
					     kc_param_master(p).data};
	}
	rc = kc_load_tensors(w, d, n, KC_LOAD_COMPLETE, NULL);
	for (size_t i = 0; i < n; i++)
		kc_param_changed(m->params->v[i]);
	free(d);
	return rc;
}

int kc_export_onnx(const char *path, const struct kc_weights *w,
		   const struct kc_export_onnx_args *a)
{
	const struct kc_onnx_model_args args = {
		.network = a->network, .height = a->height, .width = a->width,
		.factor = a->factor, .mask_cent = note(w, "mask_cent"),
		.temperature = note(w, "temperature"),
	};
	struct kc_onnx_model m;
	int rc;

	if (kc_weights_has(w, "global_hist."))
		return KC_FAIL(KC_ENOSUP, "%s: siggraph17 with global hints is not written as ONNX",
			       w->path);
	rc = kc_onnx_model_open(&m, &args);
	if (rc >= 0)
		rc = load(&m, w);
	if (rc >= 0)
		rc = kc_onnx_model_save(&m, path);
	if (rc >= 0 && a->verify)
		rc = verify(&m, path);
	kc_onnx_model_close(&m);
	return rc;
}
