/* Statistics of every layer that owns a weight, beside those of the file. */
#include "tests/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The layer's name when the node is the k-th use of a parameter NAME.weight, else NULL. */
static bool layer_name(const struct kc_node *node, char *name, size_t size)
{
	for (int i = 0; !node->backward && i < node->n_in; i++) {
		struct kc_param *p = kc_tensor_param(node->in[i]);
		size_t n = p ? strlen(p->name) : 0;

		if (n > 7 && n - 7 < size && !strcmp(p->name + n - 7, ".weight")) {
			memcpy(name, p->name, n - 7);
			name[n - 7] = '\0';
			return p->type.ndim > 1;
		}
	}
	return false;
}

/* [name, mean, std, ...] of the use-th entry of that name; NULL when there is none. */
static const struct kc_json *find_entry(const struct kc_json *list, const char *name)
{
	for (const struct kc_json *v = list->first; v; v = v->next)
		if (v->kind == KC_JSON_ARRAY && v->first && v->first->kind == KC_JSON_TEXT &&
		    !strcmp(v->first->text, name))
			return v->first;
	return NULL;
}

static void print_layer(const char *name, const double *v, size_t n, const struct kc_json *entry)
{
	double mean = 0, var = 0;

	for (size_t i = 0; i < n; i++)
		mean += v[i] / (double)n;
	for (size_t i = 0; i < n; i++)
		var += (v[i] - mean) * (v[i] - mean) / (double)(n - 1);
	printf("  %-36s mean %12.8f std %12.8f", name, mean, sqrt(var));
	if (entry && entry->next && entry->next->next)
		printf("   file %12.8f %12.8f", entry->next->number, entry->next->next->number);
	printf("\n");
}

int golden_trace(struct golden *g, const struct kc_st *st, struct kc_graph *graph,
		 const struct kc_plan_opts *opts, const struct test_feed *feed, int n_feed)
{
	struct kc_plan_opts plain = *opts;
	struct golden_values values = {0};
	struct golden_fetch fetch = {0};
	struct kc_json *list = NULL;
	int rc = golden_meta(st, "layers_name_mean_std_absmax_in_call_order", &list);
	char name[128];

	plain.no_fuse = true;
	for (int i = 0; !rc && i < kc_graph_size(graph); i++) {
		struct kc_node *node = kc_graph_node(graph, i);

		if (layer_name(node, name, sizeof name))
			rc = golden_want(&fetch, &values, name, &node->out[0]);
	}
	if (!rc)
		rc = test_run(graph, g->device, &plain, feed, n_feed, fetch.t, fetch.n, fetch.out);
	for (size_t i = 0; !rc && i < values.n; i++)
		print_layer(values.v[i].name, values.v[i].v, values.v[i].n,
			    find_entry(list, values.v[i].name));
	kc_json_free(list);
	golden_fetch_release(&fetch);
	golden_release(&values);
	return rc;
}
