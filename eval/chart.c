#include "eval/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 420, HEIGHT = 240, LEFT = 52, RIGHT = 20, TOP = 50, BOTTOM = 30 };
enum { POINTS = 400, TICKS = 12 };

void kc_html_put(FILE *out, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '&': fputs("&amp;", out); break;
		case '<': fputs("&lt;", out); break;
		case '>': fputs("&gt;", out); break;
		case '"': fputs("&quot;", out); break;
		default: fputc(*text, out);
		}
}

void kc_smooth(const double *y, size_t n, double span, double *out)
{
	double keep = span > 1 ? 1 - 2 / (span + 1) : 0, sum = 0, weight = 0;

	for (size_t i = 0; i < n; i++) {
		sum = keep * sum + y[i];
		weight = keep * weight + 1;
		out[i] = sum / weight;
	}
}

/* ---- axes ---- */

static int linear_ticks(double low, double high, double *ticks, int room)
{
	double step = pow(10, floor(log10((high - low) / 4)));
	int n = 0;

	if ((high - low) / step > 12)
		step *= 5;
	else if ((high - low) / step > 6)
		step *= 2;
	/* + 0.0: no mark is "-0". */
	for (double k = ceil(low / step - 1e-9); k * step <= high + 1e-9 * step && n < room; k++)
		ticks[n++] = k * step + 0.0;
	return n;
}

static int log_ticks(double low, double high, double *ticks, int room)
{
	static const int steps[] = {1, 2, 5};
	int each = log10(high / low) < 2.5 ? 3 : 1, n = 0;

	for (int decade = (int)floor(log10(low)); decade <= (int)ceil(log10(high)); decade++)
		for (int i = 0; i < each; i++) {
			double t = steps[i] * pow(10, decade);

			if (t >= low * (1 - 1e-9) && t <= high * (1 + 1e-9) && n < room)
				ticks[n++] = t;
		}
	return n;
}

int kc_ticks(double low, double high, bool log, double *ticks, int room)
{
	return log ? log_ticks(low, high, ticks, room) : linear_ticks(low, high, ticks, room);
}

struct axis {
	double low, high;
	bool log;
	double start, end;              /* in the picture */
};

static double place(const struct axis *a, double v)
{
	double low = a->log ? log10(a->low) : a->low, high = a->log ? log10(a->high) : a->high;

	v = a->log ? log10(fmax(v, a->low)) : v;
	return a->start + (a->end - a->start) * (v - low) / (high - low);
}

static struct axis value_axis(const double *y, size_t n)
{
	struct axis a = {.low = INFINITY, .high = -INFINITY, .start = HEIGHT - BOTTOM, .end = TOP};
	double margin;

	for (size_t i = 0; i < n; i++) {
		a.low = fmin(a.low, y[i]);
		a.high = fmax(a.high, y[i]);
	}
	a.log = a.low > 0 && a.high / a.low > 5;
	if (a.log) {
		a.low /= 1.1;
		a.high *= 1.1;
		return a;
	}
	margin = a.high > a.low ? 0.06 * (a.high - a.low) : fabs(a.high) * 0.1 + 1e-12;
	a.low = a.low >= 0 && a.low < 0.4 * a.high ? 0 : a.low - margin;
	a.high += margin;
	return a;
}

static struct axis iteration_axis(const struct kc_curve *c)
{
	struct axis a = {.low = 0, .high = c->x[c->n - 1], .start = LEFT, .end = WIDTH - RIGHT};

	if (c->x[0] > a.high / 2)
		a.low = c->x[0] - 1;
	a.high = fmax(a.high, a.low + 1);
	return a;
}

static void put_axes(FILE *out, const struct axis *x, const struct axis *y)
{
	double ticks[TICKS];
	int n = kc_ticks(y->low, y->high, y->log, ticks, TICKS);

	for (int i = 0; i < n; i++) {
		double at = place(y, ticks[i]);

		fprintf(out,
			"<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
			"<text class=\"axis\" x=\"%d\" y=\"%.1f\" "
			"text-anchor=\"end\">%.4g</text>\n",
			LEFT, WIDTH - RIGHT, at, at, LEFT - 8, at + 4, ticks[i]);
	}
	n = kc_ticks(x->low, x->high, false, ticks, TICKS);
	for (int i = 0; i < n; i++)
		fprintf(out,
			"<text class=\"axis\" x=\"%.1f\" y=\"%d\" "
			"text-anchor=\"middle\">%.7g</text>\n",
			place(x, ticks[i]), HEIGHT - 8, ticks[i]);
}

/* ---- lines ---- */

/* At most POINTS points, each the mean of its neighbours. */
static void put_line(FILE *out, const char *class, const struct kc_curve *c, const double *values,
		     const struct axis *x, const struct axis *y)
{
	size_t parts = KC_MIN(c->n, (size_t)POINTS);

	fprintf(out, "<polyline class=\"%s\" points=\"", class);
	for (size_t p = 0; p < parts; p++) {
		size_t from = p * c->n / parts, to = (p + 1) * c->n / parts;
		double sx = 0, sy = 0, n = (double)(to - from);

		for (size_t i = from; i < to; i++) {
			sx += c->x[i];
			sy += values[i];
		}
		fprintf(out, "%s%.1f,%.1f", p ? " " : "", place(x, sx / n), place(y, sy / n));
	}
	fputs("\"/>\n", out);
}

static void put_chart(FILE *out, const struct kc_curve *c, const char *title, const double *smooth)
{
	const struct axis x = iteration_axis(c), y = value_axis(c->y, c->n);
	double last = smooth[c->n - 1];

	fprintf(out, "<svg class=\"chart\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH,
		HEIGHT);
	kc_html_put(out, title);
	fputs("\">\n<text class=\"title\" x=\"8\" y=\"18\">", out);
	kc_html_put(out, title);
	fprintf(out, "</text>\n<text class=\"axis\" x=\"8\" y=\"35\">now %.3g%s</text>\n", last,
		y.log ? "; logarithmic" : "");
	put_axes(out, &x, &y);
	put_line(out, "raw", c, c->y, &x, &y);
	put_line(out, "smooth", c, smooth, &x, &y);
	fprintf(out, "<circle class=\"last\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>\n</svg>\n",
		place(&x, c->x[c->n - 1]), place(&y, last));
}

int kc_chart_put(FILE *out, const struct kc_curve *c, const char *title)
{
	double *smooth;

	if (!c->n)
		return 0;
	smooth = kc_calloc(c->n, sizeof *smooth);
	if (!smooth)
		return KC_ENOMEM;
	kc_smooth(c->y, c->n, (double)c->n / 8, smooth);
	put_chart(out, c, title, smooth);
	free(smooth);
	return 0;
}
