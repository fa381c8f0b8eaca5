/* A network of a fixture as a graph with data, and how its checkers build it. */
#ifndef KC_TESTS_GOLDEN_NET_H
#define KC_TESTS_GOLDEN_NET_H

#include "layers/layers.h"
#include "tests/golden.h"

enum { NET_FEEDS = 8, NET_OUTS = 48 };

struct net {
	const struct kc_st *st;
	struct kc_graph *g;
	struct kc_model m;
	struct test_feed feed[NET_FEEDS];       /* data owned */
	int n_feed;
	struct { const char *name; struct kc_tensor *t; } out[NET_OUTS];
	int n_out;
	struct kc_tensor *loss;         /* what gradients are of; or NULL */
};

/* A tensor of the file as an input. */
struct kc_tensor *net_input(struct net *, const char *name);
/* Frames stored as bytes [N,H,W,3], as reals [N,3,H,W] of the same range. */
struct kc_tensor *net_frames(struct net *, const char *name);
/* An input with given data, which now belong to the net. */
struct kc_tensor *net_feed(struct net *, const char *name, struct kc_type, double *data);
/* A value to compare with the tensor of that name, or with a sample of it. */
void net_out(struct net *, const char *name, struct kc_tensor *);
/* The call's error as the graph's. */
struct kc_tensor *net_fail(struct net *);

/*
 * A network by the name of its weights, what bf16 may be off there, and how many times the float32
 * spread that its file states a GPU may be off in float32.
 */
struct net_kind {
	const char *name;
	void (*build)(struct net *);
	struct golden_room room;
	double spreads;
};
/* NULL when there is none. */
const struct net_kind *net_find(const char *name);

/* tests/golden_recurrent.c */
void net_conv_lstm(struct net *);
void net_lstm(struct net *);

#endif
