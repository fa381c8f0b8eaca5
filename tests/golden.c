/*
 * golden [--dtype float32|float64|bf16] [--device NAME] [--weights FILE] [--only TEXT] [--trace]
 *        FILE...
 *
 * Checks files of fixtures (tests/golden.h).  Exit status 0 only without failures.
 */
#include "layers/cpu/cpu.h"
#include "tests/golden.h"

#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
	"usage: golden [--dtype float32|float64|bf16] [--device NAME] [--weights FILE]\n"
	"              [--only TEXT] [--trace] FILE...\n"
	"Compares this program with numbers of an independent implementation.\n"
	"  --dtype   what to compute in; bf16 is compared with float32 of this program\n"
	"  --device  cpu, cuda:N; reference: the reference kernels alone\n"
	"  --weights networks: parameters of a file of any format, in place of the formula's\n"
	"  --only    cases whose name contains TEXT\n"
	"  --trace   networks: statistics of every layer, to find the first that differs\n";

static int set_mode(const char *text, enum golden_mode *mode)
{
	static const char *const names[] = {"float32", "float64", "bf16"};

	for (size_t i = 0; i < KC_COUNT(names); i++)
		if (!strcmp(text, names[i])) {
			*mode = (enum golden_mode)i;
			return 0;
		}
	return KC_FAIL(KC_EINVAL, "no dtype \"%s\" (float32, float64, bf16)", text);
}

/* Options up to the first file; its index, or an error. */
static int read_options(int argc, char **argv, struct golden *g, const char **device)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(argv[i], "--trace")) {
			g->trace = true;
			continue;
		}
		if (!value)
			return KC_FAIL(KC_EINVAL, "%s needs a value", argv[i]);
		if (!strcmp(argv[i], "--dtype"))
			KC_TRY(set_mode(value, &g->mode));
		else if (!strcmp(argv[i], "--device"))
			*device = value;
		else if (!strcmp(argv[i], "--weights"))
			g->weights = value;
		else if (!strcmp(argv[i], "--only"))
			g->only = value;
		else
			return KC_FAIL(KC_EINVAL, "unknown option %s", argv[i]);
		i++;
	}
	if (i == argc)
		return KC_FAIL(KC_EINVAL, "no file given");
	return i;
}

/* Each file on a device opened anew, so that none finds what another has left. */
static int check_files(struct golden *g, const char *device, char **file, int n)
{
	for (int i = 0; i < n; i++) {
		struct kc_device d;

		KC_TRY(test_device(device, &d));
		g->device = &d;
		golden_file(g, file[i]);
		kc_device_release(&d);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct golden g = {0};
	const char *device = "cpu";
	int first;

	kc_cpu_share_cores(argv);
	if (argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"))) {
		fputs(usage, stdout);
		return 0;
	}
	first = read_options(argc, argv, &g, &device);
	if (first < 0 || check_files(&g, device, argv + first, argc - first) < 0) {
		fprintf(stderr, "golden: %s\n%s", kc_errmsg(), first < 0 ? usage : "");
		return 1;
	}
	printf("%d passed, %d failed\n", g.passed, g.failed);
	return g.failed ? 1 : 0;
}
