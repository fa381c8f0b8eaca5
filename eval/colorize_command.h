/* The command line of bin/colorize. */
#ifndef KC_EVAL_COLORIZE_COMMAND_H
#define KC_EVAL_COLORIZE_COMMAND_H

#include "eval/guide.h"
#include "eval/model.h"

#include <stdio.h>

enum { KC_COLORIZE_FAILED = 1 };        /* exit status of an error */

/* Texts are those of argv. */
struct kc_colorize_command {
	const char *input, *output, *device;
	struct kc_model_files files;
	struct kc_colorizer_args network;
	struct kc_guide guide;
	bool grey_input, dry_run, verbose, help, list_devices;
	enum { KC_COLORIZE_FLOAT32, KC_COLORIZE_BF16, KC_COLORIZE_AUTO } precision;
	int threads;
};

void kc_colorize_usage(FILE *);

/* Fills *c, which holds the defaults.  0, or an exit status: what is wrong was printed. */
int kc_colorize_parse(int argc, char **argv, struct kc_colorize_command *c);

#endif
