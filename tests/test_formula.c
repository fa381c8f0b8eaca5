#include "core/file.h"
#include "tests/test.h"
#include "weights/formula.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_units(void)
{
	KC_CHECK(kc_formula_unit("model1.0.weight", 0, 0) == 6672118);
	KC_CHECK(kc_formula_unit("model1.0.weight", 2303, 0) == 2426282);
	KC_CHECK(kc_formula_unit("proj:x", 12345678, 0) == 4638669);
	KC_CHECK(kc_formula_unit("model1.0.weight", 0, 7) == 7899624);
}

enum { FILLED = 300000 };       /* elements of a parameter that is filled as a whole */
enum { NET, NAME, KIND, SHAPE, CENTRE, BOUND, FIRST, LAST, SUM, COLUMNS };

/* Cuts a line of a table at its tabs, in place. */
static bool split(char *line, char *cell[COLUMNS])
{
	for (int i = 0; i < COLUMNS; i++) {
		cell[i] = line;
		line = strchr(line, '\t');
		if (!line)
			return i == COLUMNS - 1;
		*line++ = 0;
	}
	return false;
}

static int find_kind(const char *text, enum kc_param_kind *kind)
{
	static const struct {
		const char *text;
		enum kc_param_kind kind;
	} kinds[] = {
		{"weight", KC_PARAM_CONV}, {"deconv_weight", KC_PARAM_DECONV},
		{"bias", KC_PARAM_BIAS}, {"bn_weight", KC_PARAM_NORM_WEIGHT},
		{"bn_bias", KC_PARAM_NORM_BIAS}, {"bn_mean", KC_PARAM_NORM_MEAN},
		{"bn_var", KC_PARAM_NORM_VAR}, {"zero", KC_PARAM_NORM_COUNT}};

	for (size_t i = 0; i < KC_COUNT(kinds); i++)
		if (!strcmp(text, kinds[i].text)) {
			*kind = kinds[i].kind;
			return 0;
		}
	return KC_FAIL(KC_EFORMAT, "unknown kind %s", text);
}

static int parse_shape(const char *text, int64_t *dim)
{
	char *end;
	int n = 0;

	while (*text && n < 8) {
		dim[n++] = strtoll(text, &end, 10);
		text = *end ? end + 1 : end;
	}
	return n;
}

static bool near(double a, const char *text, double tolerance)
{
	double b = strtod(text, NULL);

	return fabs(a - b) <= tolerance * fmax(1e-3, fabs(b));
}

/* The table lists vectors of spectral norm before scaling, drawn with bound sqrt 3. */
static bool is_scaled(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && (!strcmp(dot, ".weight_u") || !strcmp(dot, ".weight_v"));
}

static double sum_values(const double *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i];
	return sum;
}

static void check_scaled(char *cell[COLUMNS], const double *x, size_t n)
{
	double bound = strtod(cell[BOUND], NULL), square = 0, ratio;

	for (size_t i = 0; i < n; i++)
		square += x[i] * x[i];
	ratio = kc_formula_value(cell[NAME], 0, 0, bound, 0) / x[0];
	KC_CHECK(fabs(square - 1) < 1e-12);
	KC_CHECK(near(x[0] * ratio, cell[FIRST], 1e-6));
	KC_CHECK(near(x[n - 1] * ratio, cell[LAST], 1e-6));
	KC_CHECK(near(sum_values(x, n) * ratio, cell[SUM], 1e-5));
}

static void check_filled(char *cell[COLUMNS], const struct kc_formula *f, size_t n)
{
	double *x = kc_calloc(n, sizeof *x), centre, bound;
	float *y = kc_calloc(n, sizeof *y);

	KC_ASSERT(x && y);
	KC_CHECK_OK(kc_formula_rule(f, &centre, &bound));
	KC_CHECK_OK(kc_formula_fill_f64(f, x));
	KC_CHECK_OK(kc_formula_fill_f32(f, y));
	for (size_t i = 0; i < n; i++)
		if (y[i] != (float)x[i])
			kc_test_fail(__FILE__, __LINE__, "%s[%zu]", f->name, i);
	if (is_scaled(f->name)) {
		check_scaled(cell, x, n);
	} else if (!near(centre, cell[CENTRE], 1e-15) || !near(bound, cell[BOUND], 1e-15) ||
		   !near(x[0], cell[FIRST], 1e-8) || !near(x[n - 1], cell[LAST], 1e-8) ||
		   !near(sum_values(x, n), cell[SUM], 1e-9)) {
		kc_test_fail(__FILE__, __LINE__, "%s %s: %.17g %.17g %.9g %.9g %.12g", f->net,
			     f->name, centre, bound, x[0], x[n - 1], sum_values(x, n));
	}
	free(x);
	free(y);
}

/* Of a large one the rule and both ends: filling all of them takes many seconds. */
static void check_ends(char *cell[COLUMNS], const struct kc_formula *f, size_t n)
{
	double centre, bound;

	KC_CHECK_OK(kc_formula_rule(f, &centre, &bound));
	if (!near(centre, cell[CENTRE], 1e-15) || !near(bound, cell[BOUND], 1e-15) ||
	    !near(kc_formula_value(f->name, 0, centre, bound, 0), cell[FIRST], 1e-8) ||
	    !near(kc_formula_value(f->name, n - 1, centre, bound, 0), cell[LAST], 1e-8))
		kc_test_fail(__FILE__, __LINE__, "%s %s: %.17g %.17g", f->net, f->name, centre,
			     bound);
}

static bool check_line(char *line)
{
	struct kc_formula f = {.stride = 2};
	char *cell[COLUMNS];
	size_t n = 1;
	int64_t dim[8];

	if (!split(line, cell))
		return false;
	f.net = cell[NET];
	f.name = cell[NAME];
	f.ndim = parse_shape(cell[SHAPE], dim);
	f.dim = dim;
	for (int i = 0; i < f.ndim; i++)
		n *= (size_t)dim[i];
	if (!KC_CHECK_OK(find_kind(cell[KIND], &f.kind)))
		return false;
	if (n <= FILLED)
		check_filled(cell, &f, n);
	else
		check_ends(cell, &f, n);
	return true;
}

/* Checks the lines behind the heading and returns how many there were. */
static int check_table(const char *path, size_t size_limit)
{
	char *text, *line, *end;
	size_t size;
	int n = 0;

	if (!KC_CHECK_OK(kc_file_read(path, size_limit, &text, &size)))
		return 0;
	line = strchr(text, '\n');
	for (line = line ? line + 1 : text + size; *line; line = end + 1, n++) {
		end = strchr(line, '\n');
		if (!end)
			end = text + size - 1;
		*end = 0;
		if (!check_line(line))
			kc_test_fail(__FILE__, __LINE__, "%s: line %d", path, n + 2);
	}
	free(text);
	return n;
}

static void test_every_parameter(void)
{
	KC_CHECK(check_table(kc_test_fixture("golden/weights.tsv"), 1 << 20) == 909);
}

static void test_unknown(void)
{
	int64_t dim[] = {2, 2};
	struct kc_formula f = {.net = "nonesuch", .name = "a.weight", .ndim = 2, .dim = dim};
	double centre, bound;
	float out[4];

	KC_CHECK_ERR(kc_formula_fill_f32(&f, out), KC_EINVAL, "nonesuch");
	f.net = "vgg16";
	f.kind = KC_PARAM_SCALAR;
	KC_CHECK_ERR(kc_formula_rule(&f, &centre, &bound), KC_EINVAL, "a.weight");
}

static void test_seed(void)
{
	int64_t dim[] = {3, 1};
	struct kc_formula f = {.net = "vgg16", .name = "w", .ndim = 2, .dim = dim, .seed = 7};
	float out[3];

	KC_CHECK_OK(kc_formula_fill_f32(&f, out));
	for (unsigned i = 0; i < 3; i++)
		KC_CHECK(out[i] == kc_formula_value("w#7", i, 0, sqrt(2) * sqrt(3), 0));
}

const struct kc_test kc_tests_formula[] = {
	{"published units", test_units},
	{"every parameter of every network", test_every_parameter},
	{"networks and kinds without a rule", test_unknown},
	{"the seed is part of the name", test_seed},
	{0}};
