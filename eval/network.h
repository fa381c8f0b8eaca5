/* The known networks, as lists of parameters: to tell which one a file of weights is of. */
#ifndef KC_EVAL_NETWORK_H
#define KC_EVAL_NETWORK_H

#include "core/param.h"
#include "layers/layers.h"
#include "weights/weights.h"

struct kc_network {
	const char *name;               /* "siggraph17" */
	const char *sign;               /* a parameter that no other network has */
	const char *optional;           /* prefix of parameters that its files may lack, or NULL */
	int channels;                   /* of the sign's first dimension at width 1; 0: fixed width */
	void (*build)(struct kc_model *, double width);
};

extern const struct kc_network kc_networks[];   /* the last one has no name */

/* NULL with a message that lists the names. */
const struct kc_network *kc_network_named(const char *name);

/* The first network whose sign the file holds; NULL (and no message) if there is none. */
const struct kc_network *kc_network_recognise(const struct kc_weights *);

/*
 * The factor of hidden channels (models/width.h): what the metadata "width" says, else what
 * the sign's shape says.
 */
double kc_network_width(const struct kc_network *, const struct kc_weights *);

/* Names and types of all parameters, without memory for values.  The caller frees. */
int kc_network_params(const struct kc_network *, double width, struct kc_params **);

#endif
