/* What a plan says of itself: statistics, its steps, its profile. */
#include "core/plan_ir.h"

#include <stdlib.h>

static const char *step_path(const struct kc_step *s)
{
	return s->node && s->node->path[0] ? s->node->path : "-";
}

static const char *kernel_name(const struct kc_step *s)
{
	if (s->pack)
		return "pack";
	return s->kernel ? s->kernel->name : "reference";
}

static double step_flops(const struct kc_step *s)
{
	return s->node && s->op == s->node->op && s->op->flops ? s->op->flops(s->node) : 0;
}

static double step_bytes(const struct kc_plan *p, const struct kc_step *s)
{
	double bytes = 0;

	for (int k = 0; k < s->n_in + s->n_out; k++)
		bytes += (double)p->values[k < s->n_in ? s->in[k] : s->out[k - s->n_in]].bytes;
	return bytes;
}

void kc_plan_stats(const struct kc_plan *p, struct kc_plan_stats *st)
{
	*st = (struct kc_plan_stats){.nodes = kc_graph_size(p->graph),
				     .steps = p->n_steps,
				     .arena = p->arena_bytes,
				     .packed = p->device->packed_bytes,
				     .launches = p->launches};
	for (int v = 0; v < p->n_values; v++) {
		const struct kc_value *x = &p->values[v];

		if (x->home == KC_HOME_SLOT)
			st->slots += x->bytes * (p->device->memory ? KC_RING : 1);
		else if (x->home == KC_HOME_MASTER)
			st->params += x->bytes;
		else if (x->home == KC_HOME_ARENA || (x->home == KC_HOME_ALIAS && x->producer >= 0))
			st->unshared += x->bytes;
	}
	for (int i = 0; i < p->n_steps; i++) {
		st->fused += p->steps[i].n_fused - 1;
		st->flops += step_flops(&p->steps[i]);
	}
}

void kc_plan_outline(const struct kc_plan *p, FILE *f)
{
	char dims[96];

	for (int i = 0; i < p->n_steps; i++) {
		const struct kc_step *s = &p->steps[i];
		const struct kc_buf *y = s->n_out ? &p->values[s->out[0]].buf : NULL;

		if (s->pack)
			continue;
		fprintf(f, "%s %s", s->op->name, step_path(s));
		if (y)
			fprintf(f, " %s %s", kc_dims_text(&y->type, dims),
				kc_dtype_name((enum kc_dtype)y->type.dtype));
		fputc('\n', f);
	}
}

void kc_plan_print(const struct kc_plan *p, FILE *f)
{
	char dims[96];

	for (int i = 0; i < p->n_steps; i++) {
		const struct kc_step *s = &p->steps[i];
		const struct kc_value *y = s->n_out ? &p->values[s->out[0]] : NULL;

		fprintf(f, "%5d %-16s %-28s %-14s", i, s->op->name, step_path(s), kernel_name(s));
		if (y)
			fprintf(f, " %-18s %-7s %s%s", kc_dims_text(&y->buf.type, dims),
				kc_dtype_name((enum kc_dtype)y->buf.type.dtype),
				y->buf.pads ? "padded " : "",
				y->home == KC_HOME_ARENA ? "" : "in place");
		if (y && y->home == KC_HOME_ARENA)
			fprintf(f, "@%.1fMB", (double)y->offset / 1e6);
		fputc('\n', f);
	}
}

/* ---- memory ---- */

static bool is_alive(const struct kc_value *x, int step)
{
	return x->home == KC_HOME_ARENA && x->first >= 0 && x->first <= step && step <= x->last;
}

static size_t alive_bytes(const struct kc_plan *p, int step)
{
	size_t sum = 0;

	for (int v = 0; v < p->n_values; v++)
		sum += is_alive(&p->values[v], step) ? p->values[v].bytes : 0;
	return sum;
}

static int fullest_step(const struct kc_plan *p)
{
	size_t most = 0;
	int at = 0;

	for (int i = 0; i < p->n_steps; i++) {
		size_t bytes = alive_bytes(p, i);

		if (bytes > most) {
			most = bytes;
			at = i;
		}
	}
	return at;
}

struct holder {
	char key[160];
	size_t bytes;
	int n;
};

static int largest_first(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

/* The row of the step that began the value's life. */
static struct holder *holder_of(struct holder *h, int *n, const struct kc_step *s)
{
	char key[160];

	snprintf(key, sizeof key, "%s: %s", step_path(s), s->op->name);
	for (int i = 0; i < *n; i++)
		if (!strcmp(h[i].key, key))
			return &h[i];
	memcpy(h[*n].key, key, sizeof key);
	return &h[(*n)++];
}

void kc_plan_print_peak(const struct kc_plan *p, FILE *f)
{
	struct holder *h = kc_calloc((size_t)p->n_values + 1, sizeof *h);
	int at = fullest_step(p), n = 0;

	if (!h)
		return;
	for (int v = 0; v < p->n_values; v++) {
		const struct kc_value *x = &p->values[v];

		if (is_alive(x, at)) {
			struct holder *one = holder_of(h, &n, &p->steps[x->first]);

			one->bytes += x->bytes;
			one->n++;
		}
	}
	qsort(h, (size_t)n, sizeof *h, largest_first);
	fprintf(f, "fullest at step %d (%s), %.1f MB alive:\n", at, p->steps[at].op->name,
		(double)alive_bytes(p, at) / 1e6);
	for (int i = 0; i < n && i < 30; i++)
		fprintf(f, "%10.1f MB in %3d  %s\n", (double)h[i].bytes / 1e6, h[i].n, h[i].key);
	free(h);
}

/* ---- profile ---- */

struct row {
	char key[160];
	double seconds, flops, bytes;
	int steps;
};

static struct row *find_row(struct row *rows, int *n, const char *key)
{
	for (int i = 0; i < *n; i++)
		if (!strcmp(rows[i].key, key))
			return &rows[i];
	snprintf(rows[*n].key, sizeof rows[*n].key, "%s", key);
	return &rows[(*n)++];
}

static int slowest_first(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static void print_rows(const struct kc_plan *p, struct row *rows, int n, const char *title, FILE *f)
{
	double total = 0, runs = (double)KC_MAX(p->profiled, 1L);

	for (int i = 0; i < n; i++)
		total += rows[i].seconds;
	qsort(rows, (size_t)n, sizeof *rows, slowest_first);
	fprintf(f, "%6s %9s %6s %9s %8s  %s\n", "steps", "ms/run", "share", "GFLOP/s", "GB/s",
		title);
	for (int i = 0; i < n && i < 60; i++)
		fprintf(f, "%6d %9.3f %5.1f%% %9.1f %8.2f  %s\n", rows[i].steps,
			1e3 * rows[i].seconds / runs, total > 0 ? 100 * rows[i].seconds / total : 0,
			rows[i].seconds > 0 ? rows[i].flops * runs / rows[i].seconds / 1e9 : 0,
			rows[i].seconds > 0 ? rows[i].bytes * runs / rows[i].seconds / 1e9 : 0,
			rows[i].key);
	fprintf(f, "%6d %9.3f  100%% %18s  all\n", p->n_steps, 1e3 * total / runs, "");
}

static void operator_key(const struct kc_plan *p, const struct kc_step *s, char *key, size_t size)
{
	(void)p;
	snprintf(key, size, "%s%s [%s]", s->op->name,
		 s->node && s->node->backward ? " (backward)" : "", kernel_name(s));
}

static void path_key(const struct kc_plan *p, const struct kc_step *s, char *key, size_t size)
{
	(void)p;
	snprintf(key, size, "%s: %s", step_path(s), s->op->name);
}

/* "conv [cudnn]: 48x352x256x256, 196x352x3x3 -> 48x196x256x256 bf16" */
static void shape_key(const struct kc_plan *p, const struct kc_step *s, char *key, size_t size)
{
	const struct kc_buf *y = s->n_out ? &p->values[s->out[0]].buf : NULL;
	char dims[96];
	int at = snprintf(key, size, "%s [%s]:", s->op->name, kernel_name(s));

	for (int k = 0; k < s->n_in && k < 2 && at < (int)size; k++)
		at += snprintf(key + at, size - (size_t)at, " %s",
			       kc_dims_text(&p->values[s->in[k]].buf.type, dims));
	if (y && at < (int)size)
		snprintf(key + at, size - (size_t)at, " -> %s %s", kc_dims_text(&y->type, dims),
			 kc_dtype_name((enum kc_dtype)y->type.dtype));
}

static void print_profile(const struct kc_plan *p, struct row *rows, const char *title, FILE *f,
			  void (*write)(const struct kc_plan *, const struct kc_step *, char *,
					size_t))
{
	int n = 0;

	for (int i = 0; i < p->n_steps; i++) {
		const struct kc_step *s = &p->steps[i];
		struct row *r;
		char key[160];

		write(p, s, key, sizeof key);
		r = find_row(rows, &n, key);
		r->seconds += s->seconds;
		r->flops += step_flops(s);
		r->bytes += step_bytes(p, s);
		r->steps++;
	}
	print_rows(p, rows, n, title, f);
}

void kc_plan_profile(const struct kc_plan *p, FILE *f)
{
	static const struct {
		const char *title;
		void (*write)(const struct kc_plan *, const struct kc_step *, char *, size_t);
	} tables[] = {
		{"operator [kernel]", operator_key}, {"path: operator", path_key},
		{"operator [kernel]: first inputs -> output", shape_key},
	};

	for (size_t i = 0; i < KC_COUNT(tables); i++) {
		struct row *rows = kc_calloc((size_t)p->n_steps + 1, sizeof *rows);

		if (!rows)
			return;
		print_profile(p, rows, tables[i].title, f, tables[i].write);
		free(rows);
	}
}
