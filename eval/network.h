/* The known networks, as lists of parameters: to tell which one a file of weights is of. */
#ifndef KC_EVAL_NETWORK_H
#define KC_EVAL_NETWORK_H

#include "core/param.h"
#include "layers/layers.h"
#include "weights/weights.h"

#include <stdio.h>

struct kc_network {
	const char *name;               /* "siggraph17" */
	const char *sign;               /* a parameter that no other network has */
	const char *optional[2];        /* prefixes of parameters that its files may lack */
	int channels;                   /* of the sign at width 1; 0: the width is fixed */
	void (*build)(struct kc_model *, double width);
	/* What importing must look at, told in a line on out; NULL: nothing. */
	int (*check)(const struct kc_params *, FILE *out);
};

extern const struct kc_network kc_networks[];   /* the last one has no name */

/* NULL with a message that lists the names. */
const struct kc_network *kc_network_named(const char *name);

/* The first network whose sign the file holds; NULL (and no message) if there is none. */
const struct kc_network *kc_network_recognise(const struct kc_weights *);

/*
 * What a file puts in front of the network's names: "" mostly, and also when it is not there at
 * all; "fea_key." or "flow." when the network is a part of TCVC.
 */
const char *kc_network_part(const struct kc_network *, const struct kc_weights *);

/*
 * The factor of hidden channels (models/width.h): what the metadata "width" says, else the
 * roundest one that gives the sign's shape.
 */
double kc_network_width(const struct kc_network *, const struct kc_weights *);

/* Names and types of all parameters, without memory for values.  The caller frees. */
int kc_network_params(const struct kc_network *, double width, struct kc_params **);

/* Runs the network's check, if it has one, on the file's weights; KC_EFORMAT when it fails. */
int kc_network_check(const struct kc_network *, const struct kc_weights *, FILE *out);

#endif
