/* TCVC as a graph with the windows of a fixture as data. */
#ifndef KC_TESTS_GOLDEN_TCVC_H
#define KC_TESTS_GOLDEN_TCVC_H

#include "losses/warp.h"
#include "models/tcvc.h"
#include "tests/golden.h"

enum { TCVC_FRAMES = 16, TCVC_PAIRS = 64, TCVC_PARAMS = 128 };

struct tcvc_dims { int n, frames, n_pairs; int64_t h, w; };     /* n windows */

struct tcvc {
	struct tcvc_dims d;             /* of the file */
	int n;                          /* windows at once */
	struct kc_graph *g;
	struct kc_model m;
	struct kc_tensor *l, *ab;
	struct test_feed feed[3];       /* l, ab, flows; data owned */
	int n_feed;
	struct kc_tcvc net;
	struct kc_self_regularization step[2];
	struct kc_tensor *losses[3];    /* l_pix (weight 1), warp_loss, warp_loss2 */
};

extern const char *const tcvc_loss_names[3];

int tcvc_dims(const struct kc_st *, struct tcvc_dims *);

/* n windows at once, 0 for all of the file; given: flows are fed.  To be closed in any case. */
int tcvc_open(struct tcvc *, const struct kc_st *, int n, bool given, enum kc_dtype real);
void tcvc_close(struct tcvc *);
/* Feeds all windows (-1, tensors flow_p_q) or the one of that index (flowINDEX_p_q). */
int tcvc_load(struct tcvc *, const struct kc_st *, int window);
/* pixel_weight l_pix + warp_loss + warp_loss2 */
struct kc_tensor *tcvc_total(struct tcvc *, double pixel_weight);
/* Values of the trainable parameters; how many. */
int tcvc_trainable(struct tcvc *, struct kc_tensor **wrt, int room);

#endif
