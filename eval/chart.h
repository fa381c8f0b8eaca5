/*
 * A curve as inline SVG: the values as a faint line, a smoothed line over it, a logarithmic axis
 * where values span more than a factor of five.  Colours come from the page's style: classes
 * axis, grid, raw, smooth, last.
 */
#ifndef KC_EVAL_CHART_H
#define KC_EVAL_CHART_H

#include "eval/curves.h"

#include <stdio.h>

/* Text as HTML or SVG content, or within an attribute. */
void kc_html_put(FILE *, const char *text);

/*
 * Moving mean with exponentially falling weights, without the bias of its start; out has n
 * elements.  span: how many values it looks back on, about; up to 1 copies.
 */
void kc_smooth(const double *y, size_t n, double span, double *out);

/*
 * Marks of an axis: rising round numbers within low .. high (low < high), at most `room`.
 * log: decades, or 1, 2, 5 of each where there are few.  Returns how many there are.
 */
int kc_ticks(double low, double high, bool log, double *ticks, int room);

/* A curve without points gives nothing.  KC_ENOMEM. */
int kc_chart_put(FILE *, const struct kc_curve *, const char *title);

#endif
