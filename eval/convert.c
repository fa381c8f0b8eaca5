#include "eval/convert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- tensors -------------------------------------------------------------------------- */

static bool is_real(enum kc_st_dtype t)
{
	return t == KC_ST_F64 || t == KC_ST_F32 || t == KC_ST_BF16;
}

/* x rounded to half precision, to nearest even; true when it fits. */
static bool to_half(double x, uint16_t *h)
{
	uint16_t sign = signbit(x) ? 0x8000 : 0;
	double m = fabs(x);
	int e;

	if (!isfinite(m)) {
		*h = sign | (isnan(m) ? 0x7e00 : 0x7c00);
		return true;
	}
	frexp(m, &e);
	/* Quanta of 2^(e - 11), of 2^-24 where numbers are subnormal; carries do no harm. */
	e = KC_MAX(e, -13);
	m = nearbyint(ldexp(m, 11 - e));
	if (m < 1024)
		*h = sign | (uint16_t)m;
	else
		*h = sign | (uint16_t)(((e + 13) << 10) + (int)m);
	return ldexp(m, e - 11) < 65520;
}

static int copy_half(const struct kc_weights *w, const struct kc_st_tensor *t, uint16_t *out)
{
	double *x = kc_calloc(t->count, sizeof *x);
	int rc = x ? kc_st_read_f64(t, x, t->count) : KC_ENOMEM;

	for (size_t i = 0; i < t->count && rc >= 0; i++)
		if (!to_half(x[i], &out[i]))
			rc = KC_FAIL(KC_ENUMERIC, "%s: \"%s\"[%zu] is %g, too large for float16",
				     w->path, t->name, i, x[i]);
	free(x);
	return rc;
}

static int copy_counter(const struct kc_st_tensor *t, int64_t *out)
{
	double x;

	KC_TRY(kc_st_read_f64(t, &x, 1));
	*out = isfinite(x) ? llround(x) : 0;
	return 0;
}

static bool is_counter(const struct kc_st_tensor *t)
{
	return t->count == 1 && is_real(t->dtype) && strstr(t->name, "num_batches_tracked");
}

static enum kc_st_dtype new_dtype(const struct kc_st_tensor *t, bool half)
{
	if (is_counter(t))
		return KC_ST_I64;
	return half && is_real(t->dtype) ? KC_ST_F16 : t->dtype;
}

static int convert_tensor(const struct kc_weights *w, const struct kc_st_tensor *t,
			  const char *name, bool half, struct kc_converted *c)
{
	struct kc_st_item *item = &c->items[c->n];
	void **copy = &c->copies[c->n];

	*item = (struct kc_st_item){name, new_dtype(t, half), t->ndim, {0}, t->data};
	memcpy(item->dim, t->dim, sizeof item->dim);
	if (item->dtype != t->dtype || !kc_st_is_dense(t)) {
		item->data = *copy = kc_calloc(t->count, kc_st_dtype_size(item->dtype));
		if (!*copy)
			return KC_ENOMEM;
	}
	c->n++;
	if (is_counter(t))
		return copy_counter(t, *copy);
	if (item->dtype != t->dtype)
		return copy_half(w, t, *copy);
	if (*copy)
		kc_st_copy(t, *copy);
	return 0;
}

static int convert(const struct kc_weights *w, const char *part, bool half, struct kc_converted *c)
{
	c->items = kc_calloc(w->n, sizeof *c->items);
	c->copies = kc_calloc(w->n, sizeof *c->copies);
	c->notes = kc_calloc(w->n_notes, sizeof *c->notes);
	if (!c->items || !c->copies || !c->notes)
		return KC_ENOMEM;
	for (size_t i = 0; i < w->n; i++) {
		const struct kc_st_tensor *t = &w->tensors[i], *same;
		const char *name = kc_weights_bare(t->name);

		if (strncmp(name, part, strlen(part)))
			continue;
		KC_TRY(kc_weights_find(w, name, &same));
		KC_TRY(convert_tensor(w, t, name + strlen(part), half, c));
	}
	for (size_t i = 0; i < w->n_notes; i++)
		if (strncmp(w->notes[i].key, "xxh64", 5))
			c->notes[c->n_notes++] = w->notes[i];
	return 0;
}

int kc_convert(const struct kc_weights *w, const char *part, bool half, struct kc_converted *c)
{
	int rc;

	*c = (struct kc_converted){0};
	rc = convert(w, part, half, c);
	if (rc < 0)
		kc_converted_release(c);
	return rc;
}

void kc_converted_release(struct kc_converted *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->copies[i]);
	free(c->items);
	free(c->copies);
	free(c->notes);
	*c = (struct kc_converted){0};
}

/* --- against a network ---------------------------------------------------------------- */

static void put_shape(FILE *out, int ndim, const int64_t *dim)
{
	for (int i = 0; i < ndim; i++)
		fprintf(out, "%s%lld", i ? "x" : "", (long long)dim[i]);
	if (!ndim)
		fputs("scalar", out);
}

static bool is_shape(const struct kc_type *t, const struct kc_st_tensor *s)
{
	for (int i = 0; i < t->ndim; i++)
		if (t->ndim != s->ndim || t->dim[i] != s->dim[i])
			return false;
	return t->ndim == s->ndim;
}

static bool may_lack(const struct kc_weights *w, const struct kc_network *net, const char *name)
{
	if (strstr(name, "num_batches_tracked"))
		return true;
	for (size_t i = 0; i < KC_COUNT(net->optional) && net->optional[i]; i++)
		if (!strncmp(name, net->optional[i], strlen(net->optional[i])))
			return !kc_weights_has(w, net->optional[i]);
	return false;
}

static int find_in_part(const struct kc_weights *w, const char *part, const char *name,
			const struct kc_st_tensor **t)
{
	char *full = kc_format("%s%s", part, name);
	int rc = full ? kc_weights_find(w, full, t) : KC_ENOMEM;

	free(full);
	return rc;
}

static int compare_params(const struct kc_weights *w, const struct kc_network *net,
			  const struct kc_params *params, FILE *out)
{
	const char *part = kc_network_part(net, w);
	size_t prefix = strlen(part);
	int differences = 0;

	for (size_t i = 0; i < params->n; i++) {
		const struct kc_param *p = params->v[i];
		const struct kc_st_tensor *t;

		KC_TRY(find_in_part(w, part, p->name, &t));
		if (!t ? may_lack(w, net, p->name) : is_shape(&p->type, t))
			continue;
		differences++;
		fprintf(out, "%s %s: ", t ? "shape" : "missing", p->name);
		if (t) {
			put_shape(out, t->ndim, t->dim);
			fputs(", expected ", out);
		}
		put_shape(out, p->type.ndim, p->type.dim);
		fputc('\n', out);
	}
	for (size_t i = 0; i < w->n; i++) {
		const char *name = kc_weights_bare(w->tensors[i].name);

		if (strncmp(name, part, prefix) || kc_params_find(params, name + prefix))
			continue;
		differences++;
		fprintf(out, "unexpected %s\n", w->tensors[i].name);
	}
	return differences;
}

int kc_compare(const struct kc_weights *w, const struct kc_network *net, char **lists)
{
	struct kc_params *params;
	size_t size;
	FILE *out;
	int n;

	*lists = NULL;
	KC_TRY(kc_network_params(net, kc_network_width(net, w), &params));
	out = open_memstream(lists, &size);
	n = out ? compare_params(w, net, params, out) : 0;
	if (!out || fclose(out))
		n = KC_FAIL(KC_ENOMEM, "out of memory for a list of names");
	kc_params_free(params);
	return n;
}

/* --- for people ----------------------------------------------------------------------- */

static void put_tensors(const struct kc_weights *w, FILE *out)
{
	uint64_t bytes = 0, count = 0;

	for (size_t i = 0; i < w->n; i++) {
		const struct kc_st_tensor *t = &w->tensors[i];

		fprintf(out, "%-4s  %s  ", kc_st_dtype_name(t->dtype), t->name);
		put_shape(out, t->ndim, t->dim);
		fputs(kc_st_is_dense(t) ? "\n" : "  (a view)\n", out);
		bytes += t->bytes;
		count += t->count;
	}
	fprintf(out, "%zu tensors, %llu values, %.1f MB\n", w->n, (unsigned long long)count,
		(double)bytes / 1e6);
}

static void put_notes(const struct kc_weights *w, FILE *out)
{
	for (size_t i = 0; i < w->n_notes; i++)
		if (strncmp(w->notes[i].key, "xxh64.", 6))
			fprintf(out, "%s: %.200s\n", w->notes[i].key, w->notes[i].value);
}

/* Whose names they are, when not exactly those used here. */
static void put_names(const struct kc_weights *w, FILE *out)
{
	if (w->renamed.about) {
		fprintf(out, "names: %s\n", w->renamed.about);
		return;
	}
	for (size_t i = 0; i < w->n; i++) {
		const char *name = w->tensors[i].name, *bare = kc_weights_bare(name);

		if (bare == name)
			continue;
		fprintf(out, "names: behind the wrapper \"%.*s\"\n", (int)(bare - name), name);
		return;
	}
}

static int put_match(const struct kc_weights *w, const struct kc_network *net, FILE *out)
{
	const char *part = kc_network_part(net, w);
	int rc;

	fprintf(out, "as %s: matches%s%s, width %.4g\n", net->name, part[0] ? " under " : "", part,
		kc_network_width(net, w));
	rc = kc_network_check(net, w, out);
	if (rc == KC_EFORMAT) {
		fprintf(out, "but %s\n", kc_errmsg());
		rc = 0;
	}
	return rc;
}

int kc_inspect(const struct kc_weights *w, FILE *out)
{
	const struct kc_network *own = kc_network_recognise(w);

	fprintf(out, "%s: %s\n", w->path, w->format);
	put_tensors(w, out);
	put_notes(w, out);
	put_names(w, out);
	for (const struct kc_network *net = kc_networks; net->name; net++) {
		char *lists;
		int n = kc_compare(w, net, &lists);

		if (n > 0)
			fprintf(out, "as %s: %d differences%s\n%s", net->name, n,
				net == own ? ":" : "", net == own ? lists : "");
		free(lists);
		if (!n)
			n = put_match(w, net, out);
		KC_TRY(n);
	}
	return 0;
}
