#include "eval/compare.h"

#include "core/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- which picture belongs to which ---- */

/* The results' clip of that name; a single clip is found whatever it is called. */
static const struct kc_clip *find_clip(const struct kc_compare *c, const struct kc_dataset *results,
				       size_t clip)
{
	if (c->truth->n == 1 && results->n == 1)
		return &results->clip[0];
	for (size_t i = 0; i < results->n; i++)
		if (!strcmp(results->clip[i].name, c->truth->clip[clip].name))
			return &results->clip[i];
	KC_FAIL(KC_ENOENT, "%s: no clip %s, which the ground truth has", results->path,
		c->truth->clip[clip].name);
	return NULL;
}

static size_t stem(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? (size_t)(dot - name) : strlen(name);
}

static bool same_stem(const char *a, const char *b)
{
	return stem(a) == stem(b) && !memcmp(a, b, stem(a));
}

/* Its frame of the same name; pack files have no names, so their frames go by number. */
static int64_t find_frame(const struct kc_clip *truth, const struct kc_clip *results, int64_t frame)
{
	const char *name;

	if (truth->pack || results->pack)
		return frame < results->n
			       ? frame
			       : KC_FAIL(KC_ENOENT,
					 "clip %s has %lld frames, the ground "
					 "truth has %lld",
					 results->name, (long long)results->n, (long long)truth->n);
	name = truth->files.v[frame];
	if (frame < results->n && same_stem(name, results->files.v[frame]))
		return frame;
	for (int64_t i = 0; i < results->n; i++)
		if (same_stem(name, results->files.v[i]))
			return i;
	return KC_FAIL(KC_ENOENT, "%s: no frame %.*s, which the ground truth has", results->path,
		       (int)stem(name), name);
}

int kc_compare_frame(struct kc_compare *c, size_t row, size_t clip, int64_t frame,
		     struct kc_image *image)
{
	const struct kc_clip *truth = &c->truth->clip[clip], *results;
	int64_t found;

	if (!c->row[row].results) {
		KC_TRY(kc_clip_read(truth, frame, image));
		return row == 0 ? kc_grey_run(&c->grey, image) : 0;
	}
	results = find_clip(c, c->row[row].results, clip);
	if (!results)
		return KC_ENOENT;
	found = find_frame(truth, results, frame);
	if (found < 0)
		return (int)found;
	KC_TRY(kc_clip_read(results, found, image));
	if (image->width == truth->width && image->height == truth->height)
		return 0;
	return KC_FAIL(KC_ESHAPE,
		       "%s, clip %s: frames of %d x %d, those of the ground truth are %d x %d",
		       c->row[row].results->path, results->name, image->width, image->height,
		       truth->width, truth->height);
}

/* ---- figures ---- */

struct sums {
	struct kc_mean psnr, anchors, internal, colourfulness;
	struct kc_cdc cdc;
};

static void add_frame(struct sums *s, const struct kc_compare *c, int64_t i, int64_t n,
		      const struct kc_image *image, const struct kc_image *truth)
{
	size_t pixels = (size_t)image->width * (size_t)image->height;
	double psnr = kc_psnr_frame(image->rgb, truth->rgb, pixels);

	kc_mean_add(&s->psnr, psnr);
	if (c->interval)
		kc_mean_add(kc_is_anchor(i, n, c->interval) ? &s->anchors : &s->internal, psnr);
	kc_mean_add(&s->colourfulness, kc_colourfulness(image->rgb, pixels));
	kc_cdc_add(&s->cdc, image->rgb, pixels);
}

static struct kc_figures figures_of(const struct sums *s)
{
	return (struct kc_figures){
		.psnr = kc_mean_get(&s->psnr), .anchors = kc_mean_get(&s->anchors),
		.internal = kc_mean_get(&s->internal), .cdc = kc_cdc_get(&s->cdc).cdc,
		.colourfulness = kc_mean_get(&s->colourfulness),
	};
}

static int measure_frames(struct kc_compare *c, size_t clip, struct sums *sums,
			  struct kc_image *truth, struct kc_image *image)
{
	int64_t n = c->truth->clip[clip].n;

	for (int64_t i = 0; i < n; i++) {
		KC_TRY(kc_compare_frame(c, c->n_rows - 1, clip, i, truth));
		for (size_t r = 0; r < c->n_rows; r++) {
			KC_TRY(kc_compare_frame(c, r, clip, i, image));
			add_frame(&sums[r], c, i, n, image, truth);
		}
	}
	return 0;
}

static int measure_clip(struct kc_compare *c, size_t clip)
{
	struct sums *sums = kc_calloc(c->n_rows, sizeof *sums);
	struct kc_image truth = {0}, image = {0};
	int rc = sums ? measure_frames(c, clip, sums, &truth, &image) : KC_ENOMEM;

	for (size_t r = 0; !rc && r < c->n_rows; r++)
		c->row[r].clip[clip] = figures_of(&sums[r]);
	kc_image_release(&truth);
	kc_image_release(&image);
	free(sums);
	return rc;
}

/* Student's t for 95 % with so many degrees of freedom. */
static double student(size_t freedom)
{
	static const double t[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
				   2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
				   2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
				   2.060,  2.056, 2.052, 2.048, 2.045, 2.042};

	return freedom < 1 ? NAN : freedom <= KC_COUNT(t) ? t[freedom - 1] : 1.96;
}

static double margin(const struct kc_compare_row *r, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (r->clip[i].psnr - r->mean.psnr) * (r->clip[i].psnr - r->mean.psnr);
	return n < 2 ? NAN : student(n - 1) * sqrt(sum / (double)(n - 1) / (double)n);
}

static void average(struct kc_compare_row *r, size_t n)
{
	struct kc_mean psnr = {0}, anchors = {0}, internal = {0}, cdc = {0}, colour = {0};

	for (size_t i = 0; i < n; i++) {
		kc_mean_add(&psnr, r->clip[i].psnr);
		kc_mean_add(&anchors, r->clip[i].anchors);
		kc_mean_add(&internal, r->clip[i].internal);
		kc_mean_add(&cdc, r->clip[i].cdc);
		kc_mean_add(&colour, r->clip[i].colourfulness);
	}
	r->mean = (struct kc_figures){kc_mean_get(&psnr), kc_mean_get(&anchors),
				      kc_mean_get(&internal), kc_mean_get(&cdc),
				      kc_mean_get(&colour)};
	r->margin = margin(r, n);
}

/* ---- opening ---- */

static int add_row(struct kc_compare *c, const char *name, const char *folder)
{
	struct kc_compare_row *r = &c->row[c->n_rows++];

	r->name = name;
	r->clip = kc_calloc(c->truth->n, sizeof *r->clip);
	if (!r->clip)
		return KC_ENOMEM;
	return folder ? kc_dataset_open(folder, &r->results) : 0;
}

static int open_rows(struct kc_compare *c, const struct kc_compare_args *a)
{
	KC_TRY(kc_dataset_open(a->truth, &c->truth));
	KC_TRY(add_row(c, "grey", NULL));
	for (size_t i = 0; i < a->n_results; i++)
		KC_TRY(add_row(c, a->result[i].name, a->result[i].folder));
	return add_row(c, "truth", NULL);
}

static int measure(struct kc_compare *c, const struct kc_compare_args *a)
{
	for (size_t i = 0; i < c->truth->n; i++) {
		if (a->progress)
			a->progress(a->own, i, c->truth);
		KC_TRY(measure_clip(c, i));
	}
	for (size_t r = 0; r < c->n_rows; r++)
		average(&c->row[r], c->truth->n);
	return 0;
}

int kc_compare_open(struct kc_compare *c, const struct kc_compare_args *a, struct kc_device *device)
{
	int rc;

	*c = (struct kc_compare){.interval = a->interval, .grey = {.device = device}};
	rc = open_rows(c, a);
	if (!rc)
		rc = measure(c, a);
	if (rc < 0)
		kc_compare_close(c);
	return rc;
}

void kc_compare_close(struct kc_compare *c)
{
	for (size_t r = 0; r < c->n_rows; r++) {
		kc_dataset_close(c->row[r].results);
		free(c->row[r].clip);
	}
	kc_dataset_close(c->truth);
	kc_grey_release(&c->grey);
	memset(c, 0, sizeof *c);
}

/* ---- output ---- */

const char *kc_figure_text(double x, int decimals, char *text)
{
	if (isnan(x))
		snprintf(text, 32, "-");
	else
		snprintf(text, 32, "%.*f", decimals, x);
	return text;
}

static void print_row(const struct kc_compare *c, const char *name, const struct kc_figures *f,
		      double range, FILE *out)
{
	char text[32];

	fprintf(out, "  %-16s %8s", name, kc_figure_text(f->psnr, 2, text));
	if (c->interval) {
		fprintf(out, " %8s", kc_figure_text(f->anchors, 2, text));
		fprintf(out, " %8s", kc_figure_text(f->internal, 2, text));
	}
	fprintf(out, " %10s", kc_figure_text(f->cdc, 6, text));
	fprintf(out, " %8s", kc_figure_text(f->colourfulness, 2, text));
	if (!isnan(range))
		fprintf(out, "   PSNR +- %s", kc_figure_text(range, 2, text));
	fputc('\n', out);
}

static void print_head(const struct kc_compare *c, FILE *out)
{
	fprintf(out, "  %-16s %8s%s %10s %8s\n", "", "PSNR",
		c->interval ? "  anchors internal" : "", "CDC", "colour");
}

void kc_compare_print(const struct kc_compare *c, FILE *out)
{
	for (size_t i = 0; i < c->truth->n; i++) {
		fprintf(out, "%s, %lld frames of %d x %d\n", c->truth->clip[i].name,
			(long long)c->truth->clip[i].n, c->truth->clip[i].width,
			c->truth->clip[i].height);
		print_head(c, out);
		for (size_t r = 0; r < c->n_rows; r++)
			print_row(c, c->row[r].name, &c->row[r].clip[i], NAN, out);
	}
	fprintf(out, "mean of %zu clips%s\n", c->truth->n,
		c->truth->n > 1 ? ", +- 95 % over clips" : "");
	print_head(c, out);
	for (size_t r = 0; r < c->n_rows; r++)
		print_row(c, c->row[r].name, &c->row[r].mean, c->row[r].margin, out);
}

static void put_member(const char *key, double x, bool first, FILE *out)
{
	fprintf(out, "%s\"%s\": ", first ? "" : ", ", key);
	kc_json_put_number(out, x);
}

static void put_figures(const struct kc_compare *c, const struct kc_figures *f, FILE *out)
{
	fputc('{', out);
	put_member("psnr", f->psnr, true, out);
	if (c->interval) {
		put_member("psnr_anchors", f->anchors, false, out);
		put_member("psnr_internal", f->internal, false, out);
	}
	put_member("cdc", f->cdc, false, out);
	put_member("colourfulness", f->colourfulness, false, out);
	fputc('}', out);
}

static void put_row(const struct kc_compare *c, const struct kc_compare_row *r, FILE *out)
{
	fputs("    {\"name\": ", out);
	kc_json_put_text(out, r->name);
	fputs(",\n     \"mean\": ", out);
	put_figures(c, &r->mean, out);
	put_member("psnr_margin", r->margin, false, out);
	fputs(",\n     \"clips\": {", out);
	for (size_t i = 0; i < c->truth->n; i++) {
		fputs(i ? ",\n       " : "\n       ", out);
		kc_json_put_text(out, c->truth->clip[i].name);
		fputs(": ", out);
		put_figures(c, &r->clip[i], out);
	}
	fputs("}}", out);
}

void kc_compare_json(const struct kc_compare *c, FILE *out)
{
	fputs("{\"truth\": ", out);
	kc_json_put_text(out, c->truth->path);
	if (c->interval)
		fprintf(out, ", \"interval\": %lld", (long long)c->interval);
	fputs(",\n  \"rows\": [\n", out);
	for (size_t r = 0; r < c->n_rows; r++) {
		put_row(c, &c->row[r], out);
		fputs(r + 1 < c->n_rows ? ",\n" : "\n", out);
	}
	fputs("  ]\n}\n", out);
}
