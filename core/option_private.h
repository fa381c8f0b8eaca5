/* Shared by the files of the option rows; nobody else includes it. */
#ifndef KC_CORE_OPTION_PRIVATE_H
#define KC_CORE_OPTION_PRIVATE_H

#include "core/option.h"

/* One member's value on its way between text and struct. */
union kc_opt_value {
	bool truth;
	int64_t integer;
	double real;
	char *text;
	struct kc_ints ints;
	struct kc_reals reals;
};

bool kc_opt_has_bounds(const struct kc_opt *row);

/*
 * The value that text stands for, into *v, which was zeroed and owns it also on failure.
 * KC_EFORMAT: the text does not fit the row; KC_ENOMEM.
 */
int kc_opt_read(const struct kc_opt *row, const char *text, union kc_opt_value *v);

#endif
