/* Files of torch.save: fixtures, hostile and shortened files, and what we write ourselves. */
#include "core/json.h"
#include "core/pickle.h"
#include "eval/convert.h"
#include "tests/test.h"
#include "weights/formula.h"
#include "weights/h5.h"
#include "weights/load.h"
#include "weights/pth.h"
#include "weights/pth_write.h"
#include "weights/zip.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- fixtures written by PyTorch ------------------------------------------------------ */

static bool is_value(const struct kc_json *v, const char *text)
{
	switch (v->kind) {
	case KC_JSON_NULL: return !strcmp(text, "None");
	case KC_JSON_BOOL: return !strcmp(text, v->truth ? "true" : "false");
	case KC_JSON_NUMBER: return strtod(text, NULL) == v->number;
	case KC_JSON_TEXT: return !strcmp(text, v->text);
	default: return false;
	}
}

/* The tensor as the fixture stores it: equal values, half types widened, bool as U8. */
static void check_tensor(const struct kc_st_tensor *t, const struct kc_st_tensor *e)
{
	double *x = kc_calloc(t->count + 1, sizeof *x), *y = kc_calloc(t->count + 1, sizeof *y);
	bool same = t->ndim == e->ndim && t->count == e->count;

	for (int i = 0; i < t->ndim && same; i++)
		same = t->dim[i] == e->dim[i];
	if (same && x && y) {
		KC_CHECK_OK(kc_st_read_f64(t, x, t->count));
		KC_CHECK_OK(kc_st_read_f64(e, y, t->count));
		same = !memcmp(x, y, t->count * sizeof *x);
	}
	if (!same)
		kc_test_fail(__FILE__, __LINE__, "%s differs from %s", t->name, e->name);
	free(x);
	free(y);
}

static void check_entry(const struct kc_pth *f, const struct kc_st *expected,
			const struct kc_json *v, const char *stem)
{
	const char *name = v->key[strlen(stem)] ? v->key + strlen(stem) + 1 : "tensor";
	const struct kc_json *value = kc_json_get(v, "value");
	const struct kc_st_tensor *t = kc_pth_find(f, name), *e = kc_st_find(expected, v->key);
	char *wide = kc_format("%s.f64", v->key);

	if (value) {
		const char *leaf = kc_pth_leaf(f, name);

		if (!leaf || !is_value(value, leaf))
			kc_test_fail(__FILE__, __LINE__, "%s is %s", v->key,
				     leaf ? leaf : "absent");
	} else if (t) {
		check_tensor(t, e ? e : kc_st_find(expected, wide));
	} else {
		kc_test_fail(__FILE__, __LINE__, "%s is missing", v->key);
	}
	free(wide);
}

static void check_fixture(const struct kc_st *expected, const struct kc_json *index,
			  const char *stem, const char *form)
{
	char *name = kc_format("golden/files/%s.%s.pth", stem, form);
	const char *path = kc_test_fixture(name);
	struct kc_pth f;

	free(name);
	if (!kc_file_exists(path) || !KC_CHECK_OK(kc_pth_open(path, &f)))
		return;
	for (const struct kc_json *v = index->first; v; v = v->next)
		check_entry(&f, expected, v, stem);
	KC_CHECK(f.n + f.n_leaves == index->n);
	kc_pth_close(&f);
}

static void test_fixtures(void)
{
	static const char *const forms[] = {"zip", "legacy", "protocol4.zip"};
	struct kc_st expected;
	struct kc_json *index;
	const char *text;

	if (!KC_CHECK_OK(kc_st_open(kc_test_fixture("golden/files/expected.safetensors"),
				    &expected)))
		return;
	text = kc_st_meta(&expected, "index");
	if (KC_CHECK_OK(kc_json_parse(text, strlen(text), &index))) {
		KC_CHECK(index->n >= 6);
		for (const struct kc_json *v = index->first; v; v = v->next)
			for (size_t i = 0; i < KC_COUNT(forms); i++)
				check_fixture(&expected, v, v->key, forms[i]);
		kc_json_free(index);
	}
	kc_st_close(&expected);
}

static void test_layouts(void)
{
	const struct kc_st_tensor *whole, *view;
	struct kc_pth f;

	if (!KC_CHECK_OK(kc_pth_open(kc_test_fixture("golden/files/dtypes_views.zip.pth"), &f)))
		return;
	whole = kc_pth_find(&f, "whole");
	view = kc_pth_find(&f, "view_b");
	KC_CHECK(whole && view && view->data > whole->data);
	KC_CHECK(whole && view &&
		 (const char *)view->data < (const char *)whole->data + whole->bytes);
	KC_CHECK(kc_st_is_dense(whole) && !kc_st_is_dense(kc_pth_find(&f, "transposed")));
	KC_CHECK(kc_pth_find(&f, "expanded")->stride[0] == 0);
	KC_CHECK(kc_pth_find(&f, "bf16")->dtype == KC_ST_BF16);
	kc_pth_close(&f);
}

/* How PyTorch 0.3 wrote a storage that is a part of another one: elements 2 to 5 of 6. */
static void test_storage_view(void)
{
	static const char file[] =
		"\x80\x02\x8a\x0al\xfc\x9c" "F\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
		"\x80\x02}(X\x0d\0\0\0little_endian\x88u."
		"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor\n((X\x07\0\0\0storage"
		"ctorch\nByteStorage\nX\x01\0\0\0" "0X\x03\0\0\0cpuK\x06(X\x01\0\0\0" "1K\x02K\x04"
		"ttQK\x01K\x02\x85K\x01\x85tRs.\x80\x02]X\x01\0\0\0" "0a."
		"\x06\0\0\0\0\0\0\0" "abcdef";
	char copy[sizeof file];
	struct kc_pth f;

	if (!KC_CHECK_OK(kc_pth_open_memory("view", file, sizeof file - 1, &f)))
		return;
	KC_CHECK(f.n == 1 && f.tensors[0].bytes == 2 && !memcmp(f.tensors[0].data, "de", 2));
	kc_pth_close(&f);
	/* One element more than the view has: the byte behind the opcode K of its length. */
	memcpy(copy, file, sizeof file);
	for (size_t i = 0; i + 4 < sizeof copy; i++)
		if (!memcmp(copy + i, "K\x04tt", 4))
			copy[i + 1] = 5;
	KC_CHECK_ERR(kc_pth_open_memory("view", copy, sizeof copy - 1, &f), KC_EFORMAT,
		     "a view that leaves it");
}

static void test_state_dict(void)
{
	const struct kc_st_tensor *t;
	struct kc_weights w;

	if (!KC_CHECK_OK(kc_weights_open(kc_test_fixture("golden/files/nested.zip.pth"), &w)))
		return;
	KC_CHECK(w.n == 9 && !strcmp(w.format, "PyTorch"));
	KC_CHECK(kc_weights_note(&w, "epoch") && !strcmp(kc_weights_note(&w, "epoch"), "3"));
	KC_CHECK_OK(kc_weights_find(&w, "0.weight", &t));
	KC_CHECK(t && t->count == 54);
	kc_weights_close(&w);
	if (!KC_CHECK_OK(kc_weights_open(kc_test_fixture("golden/files/module_prefix.legacy.pth"),
					 &w)))
		return;
	KC_CHECK_OK(kc_weights_find(&w, "0.weight", &t));
	KC_CHECK(t && !strcmp(t->name, "module.0.weight"));
	kc_weights_close(&w);
}

/* --- files that must be refused ------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

static void check_verdict(const struct kc_json *v)
{
	char *name = kc_format("golden/hostile/%s", v->key);
	const char *path = kc_test_fixture(name), *expect = kc_json_get(v, "expect")->text;
	double start = kc_now();
	struct kc_weights w;
	int rc = kc_weights_open(path, &w);

	free(name);
	if (rc >= 0)
		kc_weights_close(&w);
	if ((rc < 0 && !strcmp(expect, "accept")) || (rc >= 0 && !strcmp(expect, "refuse")))
		kc_test_fail(__FILE__, __LINE__, "%s: expected to %s: %s", v->key, expect,
			     rc < 0 ? kc_errmsg() : "was read");
	if (rc < 0)
		KC_CHECK(strstr(kc_errmsg(), v->key) && !strchr(kc_errmsg(), '\n'));
	KC_CHECK(kc_now() - start < 1);
}

static void test_hostile(void)
{
	struct kc_json *index;
	int n = 0;

	if (!KC_CHECK_OK(kc_json_load(kc_test_fixture("golden/hostile/index.json"), &index)))
		return;
	for (const struct kc_json *v = kc_json_get(index, "files")->first; v; v = v->next)
		if (ends_with(v->key, ".pth") || ends_with(v->key, ".safetensors")) {
			check_verdict(v);
			n++;
		}
	KC_CHECK(n == 51);
	kc_json_free(index);
}

static void test_names(void)
{
	static const char *const files[][2] = {
		{"call_os_system", "refuses to call os.system"},
		{"tensor_unknown_type", "refuses to call torch.EvilStorage"},
		{"tensor_missing_storage", "storage 7 is not in the archive"},
		{"tensor_expanded_huge", "in a file of 678"},
		{"tensor_key_traversal", "no plain word"},
		{"zip_bad_crc", "checksum differs"},
		{"zip_no_pickle", "it has no data.pkl"},
		{"zip_no_directory", "cut short"},
		{"tensor_good_deflated", "is compressed"}};

	for (size_t i = 0; i < KC_COUNT(files); i++) {
		char *name = kc_format("golden/hostile/%s.zip.pth", files[i][0]);
		struct kc_pth f;

		KC_CHECK_ERR(kc_pth_open(kc_test_fixture(name), &f), KC_EFORMAT, files[i][1]);
		free(name);
	}
}

/* Every prefix is refused; a file with one byte changed is read or refused, never worse. */
static void check_damaged(const char *name)
{
	const char *path = kc_test_fixture(name);
	struct kc_pth f;
	size_t size;
	char *bytes, *copy;

	if (!KC_CHECK_OK(kc_file_read(path, 1 << 20, &bytes, &size)))
		return;
	for (size_t n = 0; n < size; n++) {
		/* Of exactly that size, so that the sanitizer sees a byte too many. */
		copy = kc_alloc(n);
		memcpy(copy, bytes, n);
		if (kc_pth_open_memory("cut", copy, n, &f) >= 0) {
			kc_test_fail(__FILE__, __LINE__, "%s: %zu bytes were read", name, n);
			kc_pth_close(&f);
		}
		free(copy);
	}
	for (size_t n = 0; n < size; n++) {
		for (int bit = 0; bit < 8; bit++) {
			bytes[n] ^= (char)(1 << bit);
			if (kc_pth_open_memory("flipped", bytes, size, &f) >= 0)
				kc_pth_close(&f);
			bytes[n] ^= (char)(1 << bit);
		}
	}
	free(bytes);
}

static void test_damaged(void)
{
	check_damaged("golden/hostile/whole_zip.pth");
	check_damaged("golden/hostile/whole_legacy.pth");
	check_damaged("golden/files/bare_tensor.zip.pth");
	check_damaged("golden/files/state_dict.legacy.pth");
}

/* Inputs that fuzzing found: read or refused. */
static void check_corpus(const char *folder)
{
	char *name = kc_format("fuzz/corpus/%s", folder);
	const char *path = kc_test_fixture(name);
	struct kc_names files;

	free(name);
	if (!KC_CHECK_OK(kc_dir_list(path, NULL, KC_ORDER_BYTES, &files)))
		return;
	KC_CHECK(files.n >= 40);
	for (size_t i = 0; i < files.n; i++) {
		char *file = kc_format("%s/%s", path, files.v[i]), *bytes;
		struct kc_pickle *p;
		struct kc_pth f;
		struct kc_st s;
		size_t size;

		if (KC_CHECK_OK(kc_file_read(file, 1 << 20, &bytes, &size))) {
			if (kc_pth_open_memory(file, bytes, size, &f) >= 0)
				kc_pth_close(&f);
			if (kc_st_open_memory(file, bytes, size, &s) >= 0)
				kc_st_close(&s);
			if (kc_pickle_read(bytes, size, NULL, &p) >= 0)
				kc_pickle_free(p);
			free(bytes);
		}
		free(file);
	}
	kc_names_free(&files);
}

static void test_corpus(void)
{
	check_corpus("pickle");
	check_corpus("pth");
	check_corpus("safetensors");
}

/* --- what we write -------------------------------------------------------------------- */

static void check_equal(const struct kc_weights *a, const struct kc_weights *b)
{
	KC_CHECK(a->n == b->n);
	for (size_t i = 0; i < a->n && i < b->n; i++) {
		const struct kc_st_tensor *t = &a->tensors[i], *u = &b->tensors[i];
		char *x = kc_alloc(t->bytes), *y = kc_alloc(t->bytes);
		bool same = !strcmp(t->name, u->name) && t->dtype == u->dtype &&
			    t->ndim == u->ndim && t->bytes == u->bytes &&
			    !memcmp(t->dim, u->dim, sizeof t->dim);

		if (same) {
			kc_st_copy(t, x);
			kc_st_copy(u, y);
			same = !memcmp(x, y, t->bytes);
		}
		if (!same)
			kc_test_fail(__FILE__, __LINE__, "%s changed on the way", t->name);
		free(x);
		free(y);
	}
}

static int save_h5(const char *path, const struct kc_st_item *items, size_t n,
		   const struct kc_st_pair *notes, size_t n_notes)
{
	return kc_h5_save(path, items, n, notes, n_notes, 0);
}

/* Opens path, writes it anew in a format and compares. */
static const char *rewrite(const char *path, const char *name,
			   int (*save)(const char *, const struct kc_st_item *, size_t,
				       const struct kc_st_pair *, size_t))
{
	const char *out = kc_test_path(name);
	struct kc_weights a, b;
	struct kc_converted c;

	if (!KC_CHECK_OK(kc_weights_open(path, &a)))
		return out;
	if (KC_CHECK_OK(kc_convert(&a, "", false, &c))) {
		KC_CHECK_OK(save(out, c.items, c.n, c.notes, c.n_notes));
		if (KC_CHECK_OK(kc_weights_open(out, &b))) {
			check_equal(&a, &b);
			KC_CHECK(a.n_notes == b.n_notes);
			kc_weights_close(&b);
		}
		kc_converted_release(&c);
	}
	kc_weights_close(&a);
	return out;
}

static void test_round_trip(void)
{
	const char *path = kc_test_fixture("golden/files/dtypes_views.legacy.pth");

	path = rewrite(path, "a.pth", kc_pth_save);
	path = rewrite(path, "b.safetensors", kc_st_save);
	path = rewrite(path, "c.h5", save_h5);
	rewrite(path, "d.pth", kc_pth_save);
	rewrite(kc_test_fixture("golden/files/nested.zip.pth"), "e.h5", save_h5);
	rewrite(kc_test_fixture("golden/files/empty_dict.zip.pth"), "f.pth", kc_pth_save);
}

static void test_all_dtypes(void)
{
	static const unsigned char bytes[48] = {1, 0, 1, 1, 0, 0x7f, 0x80, 0xff, 1};
	static const struct kc_st_pair notes[] = {{"mask_cent", "0.5"},
						  {"licence", "CC0 \xc2\xa9"}};
	struct kc_st_item items[KC_ST_N_DTYPES + 2];
	struct kc_weights w;

	for (int i = 0; i < KC_ST_N_DTYPES; i++)
		items[i] = (struct kc_st_item){kc_st_dtype_name((enum kc_st_dtype)i),
					       (enum kc_st_dtype)i, 2, {2, 3}, bytes};
	items[KC_ST_N_DTYPES] = (struct kc_st_item){"scalar", KC_ST_F64, 0, {0}, bytes};
	items[KC_ST_N_DTYPES + 1] = (struct kc_st_item){"empty", KC_ST_I16, 3, {2, 0, 5}, NULL};
	KC_CHECK_OK(kc_pth_save(kc_test_path("a.pth"), items, KC_COUNT(items), notes, 2));
	if (!KC_CHECK_OK(kc_weights_open(kc_test_path("a.pth"), &w)))
		return;
	KC_CHECK(w.n == KC_COUNT(items));
	for (size_t i = 0; i < KC_COUNT(items); i++) {
		const struct kc_st_tensor *t;

		KC_CHECK_OK(kc_weights_find(&w, items[i].name, &t));
		KC_CHECK(t && t->dtype == items[i].dtype && t->ndim == items[i].ndim);
		KC_CHECK(t && !memcmp(t->data, bytes, t->bytes) && (size_t)t->data % 64 == 0);
	}
	KC_CHECK(!strcmp(kc_weights_note(&w, "mask_cent"), "0.5"));
	KC_CHECK(!strcmp(kc_weights_note(&w, "licence"), "CC0 \xc2\xa9"));
	kc_weights_close(&w);
	items[1].name = "F64";
	KC_CHECK_ERR(kc_pth_save(kc_test_path("a.pth"), items, 2, NULL, 0), KC_EINVAL,
		     "two tensors named");
}

static void test_crc(void)
{
	char bytes[100];

	KC_CHECK(kc_zip_crc(0, "123456789", 9) == 0xCBF43926);
	for (int i = 0; i < 100; i++)
		bytes[i] = (char)(i * 7);
	for (size_t i = 0; i <= 100; i++)
		KC_CHECK(kc_zip_crc(kc_zip_crc(0, bytes, i), bytes + i, 100 - i) ==
			 kc_zip_crc(0, bytes, 100));
}

/* Fills a network, but for FlowNet 2.0 inside it, by formula and describes it as items. */
static int make_network(const struct kc_network *net, struct kc_params *p, struct kc_st_item *items)
{
	int n = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct kc_param *v = p->v[i];
		const struct kc_formula f = {.net = net->name, .name = v->name, .kind = v->kind,
					     .ndim = v->type.ndim, .dim = v->type.dim,
					     .stride = v->stride};

		if (!strncmp(v->name, "flow.", 5))
			continue;
		KC_TRY(kc_formula_fill_f32(&f, kc_param_master(v).data));
		items[n] = (struct kc_st_item){v->name, KC_ST_F32, v->type.ndim, {0},
					       kc_param_master(v).data};
		memcpy(items[n++].dim, v->type.dim, (size_t)v->type.ndim * sizeof v->type.dim[0]);
	}
	return n;
}

/* A whole network goes through a .pth, strictly and bit for bit, and is recognised. */
static void test_network(void)
{
	const struct kc_network *net = kc_network_named("siggraph17");
	const char *path = kc_test_path("siggraph17.pth");
	struct kc_load_dest *d;
	struct kc_st_item *items;
	struct kc_params *p;
	struct kc_weights w;
	float *x;
	char *lists;

	if (!KC_CHECK_OK(kc_network_params(net, 0.25, &p)) ||
	    !KC_CHECK_OK(kc_params_alloc(p, false, false)))
		return;
	items = kc_calloc(p->n, sizeof *items);
	d = kc_calloc(p->n, sizeof *d);
	x = kc_calloc(p->count, sizeof *x);
	KC_CHECK(make_network(net, p, items) == (int)p->n);
	KC_CHECK_OK(kc_pth_save(path, items, p->n, NULL, 0));
	for (size_t i = 0; i < p->n; i++)
		d[i] = (struct kc_load_dest){p->v[i]->name, p->v[i]->type.ndim, p->v[i]->type.dim,
					     x + p->v[i]->offset};
	KC_CHECK_OK(kc_load_file(path, d, p->n, KC_LOAD_STRICT, NULL));
	KC_CHECK(!memcmp(x, p->master, p->count * sizeof *x));
	if (KC_CHECK_OK(kc_weights_open(path, &w))) {
		KC_CHECK(kc_network_recognise(&w) == net);
		KC_CHECK(kc_network_width(net, &w) == 0.25);
		KC_CHECK(kc_compare(&w, net, &lists) == 0);
		free(lists);
		KC_CHECK(kc_compare(&w, kc_network_named("flownet2"), &lists) > 200);
		KC_CHECK(strstr(lists, "missing flownetc.conv1.0.weight: 64x3x7x7\n"));
		KC_CHECK(strstr(lists, "unexpected model10.1.weight\n"));
		free(lists);
		kc_weights_close(&w);
	}
	free(items);
	free(d);
	free(x);
	kc_params_free(p);
}

static void check_parts(const struct kc_weights *w)
{
	const struct kc_network *tcvc = kc_network_named("tcvc");
	const struct kc_network *key = kc_network_named("siggraph17");
	struct kc_converted c;
	char *lists;

	KC_CHECK(kc_network_recognise(w) == tcvc && !kc_network_part(tcvc, w)[0]);
	KC_CHECK(!strcmp(kc_network_part(key, w), "fea_key."));
	KC_CHECK(kc_network_width(tcvc, w) == 0.0625 && kc_network_width(key, w) == 0.0625);
	KC_CHECK(kc_compare(w, tcvc, &lists) == 0);
	free(lists);
	KC_CHECK(kc_compare(w, key, &lists) == 0);
	free(lists);
	if (!KC_CHECK_OK(kc_convert(w, "fea_key.", false, &c)))
		return;
	KC_CHECK(c.n == 107 && c.n < w->n && !strncmp(c.items[0].name, "model", 5));
	kc_converted_release(&c);
}

/* TCVC without FlowNet 2.0 is whole, and its keyframe network is a network of its own. */
static void test_parts(void)
{
	const struct kc_network *net = kc_network_named("tcvc");
	const char *path = kc_test_path("tcvc.pth");
	struct kc_st_item *items;
	struct kc_params *p;
	struct kc_weights w;
	int n;

	if (!KC_CHECK_OK(kc_network_params(net, 0.0625, &p)) ||
	    !KC_CHECK_OK(kc_params_alloc(p, false, false)))
		return;
	items = kc_calloc(p->n, sizeof *items);
	n = make_network(net, p, items);
	KC_CHECK(n > 107 && n < (int)p->n);
	KC_CHECK_OK(kc_pth_save(path, items, (size_t)n, NULL, 0));
	if (KC_CHECK_OK(kc_weights_open(path, &w))) {
		check_parts(&w);
		kc_weights_close(&w);
	}
	free(items);
	kc_params_free(p);
}

static void test_half(void)
{
	static const float values[] = {1, -2.5f, 65504, 5.9604645e-8f, 2.9802322e-8f,
				       1.00048828125f, 1.00146484375f, 6.1e-5f, 0, INFINITY};
	static const uint16_t halves[] = {0x3c00, 0xc100, 0x7bff, 1, 0,
					  0x3c00, 0x3c02, 0x03ff, 0, 0x7c00};
	static const float large = 65520;
	struct kc_st_item item = {"w", KC_ST_F32, 1, {10}, values};
	struct kc_weights w;
	struct kc_converted c;

	KC_CHECK_OK(kc_pth_save(kc_test_path("a.pth"), &item, 1, NULL, 0));
	if (KC_CHECK_OK(kc_weights_open(kc_test_path("a.pth"), &w))) {
		KC_CHECK_OK(kc_convert(&w, "", true, &c));
		KC_CHECK(c.items[0].dtype == KC_ST_F16);
		for (int i = 0; i < 10; i++)
			if (((const uint16_t *)c.items[0].data)[i] != halves[i])
				kc_test_fail(__FILE__, __LINE__, "%g became %x", (double)values[i],
					     ((const uint16_t *)c.items[0].data)[i]);
		kc_converted_release(&c);
		kc_weights_close(&w);
	}
	item = (struct kc_st_item){"bn.num_batches_tracked", KC_ST_F32, 0, {0}, &large};
	KC_CHECK_OK(kc_pth_save(kc_test_path("a.pth"), &item, 1, NULL, 0));
	if (KC_CHECK_OK(kc_weights_open(kc_test_path("a.pth"), &w))) {
		KC_CHECK_OK(kc_convert(&w, "", true, &c));
		KC_CHECK(c.items[0].dtype == KC_ST_I64);
		KC_CHECK(*(const int64_t *)c.items[0].data == 65520);
		kc_converted_release(&c);
		kc_weights_close(&w);
	}
	item.name = "w";
	KC_CHECK_OK(kc_pth_save(kc_test_path("a.pth"), &item, 1, NULL, 0));
	if (KC_CHECK_OK(kc_weights_open(kc_test_path("a.pth"), &w))) {
		KC_CHECK_ERR(kc_convert(&w, "", true, &c), KC_ENUMERIC, "too large for float16");
		kc_weights_close(&w);
	}
}

static void test_memory_faults(void)
{
	const char *path = kc_test_fixture("golden/files/training_state.legacy.pth");
	struct kc_weights w;
	int rc = -1;

	for (long n = 1; rc < 0 && n < 5000; n++) {
		kc_alloc_fail_after(n);
		rc = kc_weights_open(path, &w);
		KC_CHECK(rc >= 0 || rc == KC_ENOMEM);
		kc_alloc_fail_after(0);
	}
	KC_CHECK(rc >= 0);
	if (rc >= 0)
		kc_weights_close(&w);
}

const struct kc_test kc_tests_pth[] = {
	{"files written by PyTorch", test_fixtures},
	{"views share their storage", test_layouts},
	{"parts of storages", test_storage_view},
	{"the state dict is found", test_state_dict},
	{"hostile files", test_hostile},
	{"what is refused is named", test_names},
	{"shortened and damaged files", test_damaged},
	{"inputs from fuzzing", test_corpus},
	{"written and read again", test_round_trip},
	{"every type", test_all_dtypes},
	{"checksum of zip", test_crc},
	{"a whole network", test_network},
	{"parts of a network", test_parts},
	{"half precision", test_half},
	{"every failing allocation", test_memory_faults},
	{0}};
