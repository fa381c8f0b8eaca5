#include "eval/report.h"

#include "data/resize.h"
#include "eval/chart.h"
#include "eval/report_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STRIP_WIDTH = 480, STRIP_QUALITY = 86 };

/* ---- figures in short ---- */

static void put_card(FILE *out, const char *value, const char *what)
{
	fputs("<div class=\"card\"><b>", out);
	kc_html_put(out, value);
	fputs("</b><span>", out);
	kc_html_put(out, what);
	fputs("</span></div>\n", out);
}

static void put_cards(FILE *out, const struct kc_compare *c)
{
	const struct kc_compare_row *grey = &c->row[0], *truth = &c->row[c->n_rows - 1];
	char value[64], what[256], a[32], b[32];

	fputs("<div class=\"cards\">\n", out);
	for (size_t r = 1; r + 1 < c->n_rows; r++) {
		const struct kc_compare_row *ours = &c->row[r];

		snprintf(value, sizeof value, "%+.2f dB", ours->mean.psnr - grey->mean.psnr);
		snprintf(what, sizeof what, "%s over grey: PSNR %s against %s dB", ours->name,
			 kc_figure_text(ours->mean.psnr, 2, a),
			 kc_figure_text(grey->mean.psnr, 2, b));
		put_card(out, value, what);
		snprintf(value, sizeof value, "%s", kc_figure_text(ours->mean.colourfulness, 1, a));
		snprintf(what, sizeof what, "colourfulness of %s; the truth has %s", ours->name,
			 kc_figure_text(truth->mean.colourfulness, 1, b));
		put_card(out, value, what);
		snprintf(value, sizeof value, "%s", kc_figure_text(1000 * ours->mean.cdc, 2, a));
		snprintf(what, sizeof what,
			 "CDC of %s, in thousandths: how much colours change from frame to "
			 "frame; the truth has %s",
			 ours->name, kc_figure_text(1000 * truth->mean.cdc, 2, b));
		put_card(out, value, what);
	}
	fputs("</div>\n", out);
}

/* ---- strips ---- */

static void put_base64(FILE *out, const uint8_t *p, size_t n)
{
	static const char digit[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
			     (i + 2 < n ? p[i + 2] : 0);

		fputc(digit[v >> 18], out);
		fputc(digit[v >> 12 & 63], out);
		fputc(i + 1 < n ? digit[v >> 6 & 63] : '=', out);
		fputc(i + 2 < n ? digit[v & 63] : '=', out);
	}
}

static int put_picture(FILE *out, const struct kc_image *image, const char *name)
{
	struct kc_image small = {0};
	uint8_t *bytes = NULL;
	size_t size;
	int height, rc = 0;

	if (image->width > STRIP_WIDTH) {
		height = KC_MAX(1, (int)lround((double)image->height * STRIP_WIDTH / image->width));
		rc = kc_image_resize(image, STRIP_WIDTH, height, KC_FILTER_AREA, &small);
		image = &small;
	}
	if (!rc)
		rc = kc_image_encode(image, KC_IMAGE_JPEG, STRIP_QUALITY, &bytes, &size);
	if (!rc) {
		fprintf(out, "<img width=\"%d\" height=\"%d\" alt=\"", image->width, image->height);
		kc_html_put(out, name);
		fputs("\" src=\"data:image/jpeg;base64,", out);
		put_base64(out, bytes, size);
		fputs("\">\n", out);
	}
	free(bytes);
	kc_image_release(&small);
	return rc;
}

struct pictures { struct kc_image truth, row; };

static int put_strip(FILE *out, struct kc_compare *c, size_t clip, int64_t frame,
		     struct pictures *p)
{
	const struct kc_clip *k = &c->truth->clip[clip];
	char text[32];

	KC_TRY(kc_compare_frame(c, c->n_rows - 1, clip, frame, &p->truth));
	fputs("<figure class=\"strip\"><div>\n", out);
	for (size_t r = 0; r < c->n_rows; r++) {
		KC_TRY(kc_compare_frame(c, r, clip, frame, &p->row));
		KC_TRY(put_picture(out, &p->row, c->row[r].name));
	}
	fputs("</div><figcaption>", out);
	kc_html_put(out, k->name);
	fprintf(out, ", frame %lld", (long long)frame);
	for (size_t r = 0; r + 1 < c->n_rows; r++) {
		KC_TRY(kc_compare_frame(c, r, clip, frame, &p->row));
		fputs(r ? ", " : " — PSNR ", out);
		kc_html_put(out, c->row[r].name);
		fprintf(out, " %s dB", kc_figure_text(kc_psnr_frame(p->row.rgb, p->truth.rgb,
			(size_t)p->truth.width * (size_t)p->truth.height), 2, text));
	}
	fputs("</figcaption></figure>\n", out);
	return 0;
}

static int put_strips(FILE *out, struct kc_compare *c, int strips)
{
	struct pictures p = {0};
	size_t clips = c->truth->n, n = (size_t)strips;
	int rc = 0;

	if (!strips)
		return 0;
	fputs("<h2>Frames</h2>\n<div class=\"names\">", out);
	for (size_t r = 0; r < c->n_rows; r++) {
		fputs("<span>", out);
		kc_html_put(out, c->row[r].name);
		fputs("</span>", out);
	}
	fputs("</div>\n", out);
	for (size_t i = 0; i < clips && !rc; i++) {
		size_t mine = n / clips + (i < n % clips);

		for (size_t k = 0; k < mine && !rc; k++)
			rc = put_strip(out, c, i, c->truth->clip[i].n * (2 * (int64_t)k + 1) /
				       (2 * (int64_t)mine), &p);
	}
	kc_image_release(&p.truth);
	kc_image_release(&p.row);
	return rc;
}

/* ---- table ---- */

static void put_cell(FILE *out, double x, int decimals)
{
	char text[32];

	fprintf(out, "<td>%s</td>", kc_figure_text(x, decimals, text));
}

static void put_block(FILE *out, const struct kc_compare *c, const char *name, size_t clip,
		      bool mean)
{
	fprintf(out, "<tbody%s>\n", mean ? " class=\"mean\"" : "");
	for (size_t r = 0; r < c->n_rows; r++) {
		const struct kc_figures *f = mean ? &c->row[r].mean : &c->row[r].clip[clip];
		char text[32];

		fprintf(out, "<tr%s>", r && r + 1 < c->n_rows ? " class=\"ours\"" : "");
		if (!r) {
			fprintf(out, "<td class=\"word\" rowspan=\"%zu\">", c->n_rows);
			kc_html_put(out, name);
			fputs("</td>", out);
		}
		fputs("<td class=\"word\">", out);
		kc_html_put(out, c->row[r].name);
		fprintf(out, "</td><td>%s", kc_figure_text(f->psnr, 2, text));
		if (mean && !isnan(c->row[r].margin))
			fprintf(out, " ± %.2f", c->row[r].margin);
		fputs("</td>", out);
		if (c->interval) {
			put_cell(out, f->anchors, 2);
			put_cell(out, f->internal, 2);
		}
		put_cell(out, 1000 * f->cdc, 3);
		put_cell(out, f->colourfulness, 2);
		fputs("</tr>\n", out);
	}
	fputs("</tbody>\n", out);
}

static void put_table(FILE *out, const struct kc_compare *c)
{
	fputs("<h2>Figures</h2>\n<div class=\"scroll\"><table>\n<thead><tr>"
	      "<th class=\"word\">clip</th><th></th><th>PSNR, dB</th>", out);
	if (c->interval)
		fputs("<th>anchors</th><th>between</th>", out);
	fputs("<th>CDC × 1000</th><th>colourfulness</th></tr></thead>\n", out);
	for (size_t i = 0; i < c->truth->n; i++)
		put_block(out, c, c->truth->clip[i].name, i, false);
	put_block(out, c, "mean of clips", 0, true);
	fputs("</table></div>\n"
	      "<p class=\"dim\"><b>PSNR</b> compares every pixel with the true colour, on\n"
	      "8-bit RGB in double precision; higher is closer. <b>grey</b> is the true frame\n"
	      "without its colour: what a colorizer must beat. <b>CDC</b> is how much the\n"
	      "distribution of colours changes between frames 1, 2 and 4 apart; it includes luma,\n"
	      "so the truth is not zero, and a good result is near the truth, not below it.\n"
	      "<b>Colourfulness</b> is that of Hasler and Süsstrunk. ± is the 95&nbsp;%\n"
	      "interval over clips.</p>\n", out);
}

/* ---- curves ---- */

static const char *caption(const char *key)
{
	static const char *const captions[][2] = {
		{"l_reg", "distance to the true colour"},
		{"l_class", "cross entropy of colour classes"},
		{"l_pix", "distance to the true colour"},
		{"warp_loss", "flicker over one frame"},
		{"warp_loss2", "flicker over two frames"},
		{"grad_norm", "norm of the gradient"},
	};

	for (size_t i = 0; i < KC_COUNT(captions); i++)
		if (!strcmp(captions[i][0], key))
			return captions[i][1];
	return NULL;
}

static int put_run(FILE *out, const struct kc_curves *curves)
{
	fputs("<h2>Training: ", out);
	kc_html_put(out, curves->run);
	fputs("</h2>\n<div class=\"charts\">\n", out);
	for (size_t i = 0; i < curves->n; i++) {
		const char *what = caption(curves->v[i].name);
		char title[160];

		snprintf(title, sizeof title, what ? "%s: %s" : "%s", curves->v[i].name, what);
		KC_TRY(kc_chart_put(out, &curves->v[i], title));
	}
	fputs("</div>\n", out);
	return 0;
}

static int put_runs(FILE *out, const struct kc_report *r)
{
	for (size_t i = 0; i < r->n_metrics; i++) {
		struct kc_curves curves;
		int rc;

		KC_TRY(kc_curves_read(r->metrics[i], &curves));
		rc = put_run(out, &curves);
		kc_curves_release(&curves);
		KC_TRY(rc);
	}
	if (r->n_metrics)
		fputs("<p class=\"dim\">Thin: the values as logged, by iteration. "
		      "Thick: their moving mean.</p>\n", out);
	return 0;
}

/* ---- the page ---- */

static void put_head(FILE *out, const char *title)
{
	fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>",
	      out);
	kc_html_put(out, title);
	fprintf(out, "</title>\n%s</head>\n<body><main>\n<div class=\"bar\"></div>\n<h1>",
		kc_report_style);
	kc_html_put(out, title);
	fputs("</h1>\n", out);
}

static void put_lead(FILE *out, const struct kc_compare *c)
{
	long long frames = 0;

	for (size_t i = 0; i < c->truth->n; i++)
		frames += c->truth->clip[i].n;
	fprintf(out,
		"<p class=\"dim\">%lld frames of %zu clip%s. The network sees luma alone and every "
		"result keeps it; what is compared is the colour it was given.</p>\n",
		frames, c->truth->n, c->truth->n == 1 ? "" : "s");
}

/* Every line a paragraph. */
static void put_notes(FILE *out, const char *notes)
{
	if (!notes)
		return;
	fputs("<footer>", out);
	while (*notes) {
		size_t n = strcspn(notes, "\n");
		char *line = kc_format("%.*s", (int)n, notes);

		if (line && n) {
			fputs("<p>", out);
			kc_html_put(out, line);
			fputs("</p>\n", out);
		}
		free(line);
		notes += n + (notes[n] == '\n');
	}
	fputs("</footer>\n", out);
}

static int put_page(FILE *out, const struct kc_report *r, struct kc_compare *c)
{
	put_head(out, r->title);
	put_lead(out, c);
	put_cards(out, c);
	KC_TRY(put_strips(out, c, r->strips));
	put_table(out, c);
	KC_TRY(put_runs(out, r));
	put_notes(out, r->notes);
	fputs("</main></body></html>\n", out);
	return 0;
}

int kc_report_write(const char *path, const struct kc_report *r, struct kc_compare *c)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int rc = out ? put_page(out, r, c) : KC_FAIL(KC_ENOMEM, "out of memory for a report");

	if (out && fclose(out) && !rc)
		rc = KC_FAIL(KC_ENOMEM, "out of memory for a report");
	if (!rc)
		rc = kc_file_write(path, text, size);
	free(text);
	return rc;
}
