/* Files with the names of other projects. */
#include "eval/convert.h"
#include "tests/test.h"
#include "weights/load.h"
#include "weights/pth_write.h"

#include <stdlib.h>
#include <string.h>

static const float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};

/* A file of one value per name, by the order of names. */
static bool open_names(const char *const *names, size_t n, struct kc_weights *w)
{
	struct kc_st_item items[8];

	for (size_t i = 0; i < n; i++)
		items[i] = (struct kc_st_item){names[i], KC_ST_F32, 1, {1}, &values[i]};
	return KC_CHECK_OK(kc_pth_save(kc_test_path("names.pth"), items, n, NULL, 0)) &&
	       KC_CHECK_OK(kc_weights_open(kc_test_path("names.pth"), w));
}

static void check_value(const struct kc_weights *w, const char *name, float x)
{
	const struct kc_st_tensor *t;
	float got = 0;

	KC_CHECK_OK(kc_weights_find(w, name, &t));
	if (!t)
		kc_test_fail(__FILE__, __LINE__, "%s is not found", name);
	else if (KC_CHECK_OK(kc_st_read_f32(t, &got, 1)))
		KC_CHECK(got == x);
}

static char *inspect(const struct kc_weights *w)
{
	size_t size;
	char *text = NULL;
	FILE *f = open_memstream(&text, &size);

	KC_CHECK_OK(kc_inspect(w, f));
	fclose(f);
	return text;
}

static void test_flownet2(void)
{
	static const char *const foreign[] = {
		"netG.module.FlowNet_S1.conv3_1.weight", "FlowNetC.conv_redir.bias",
		"FlowNetFusion.conv0.weight", "FlowNetFusion.predict_flow0.0.weight",
		"netSD.inter_conv5.0.weight", "s2.upsampled_flow6_to_5.weight",
		"s2.resnet.weight", "mean",
	};
	static const char *const ours[] = {
		"flownets_1.conv3_1.0.weight", "flownetc.conv_redir.0.bias",
		"flownetfusion.conv0.0.weight", "flownetfusion.predict_flow0.weight",
		"flownets_d.inter_conv5.0.weight", "flownets_2.upsampled_flow6_to_5.weight",
		"s2.resnet.weight", "mean",
	};
	struct kc_weights w;
	float x = 0;
	char *text;

	if (!open_names(foreign, 8, &w))
		return;
	for (size_t i = 0; i < 8; i++)
		check_value(&w, ours[i], values[i]);
	KC_CHECK(!strcmp(kc_network_recognise(&w)->name, "flownet2"));
	text = inspect(&w);
	KC_CHECK(strstr(text, "names: FlowNet 2.0 by structure, \"FlowNetFusion.conv0.weight\" as "
			"\"flownetfusion.conv0.0.weight\"\n"));
	free(text);
	kc_weights_close(&w);
	KC_CHECK_OK(kc_load_file(kc_test_path("names.pth"),
				 &(struct kc_load_dest){ours[0], 1, (const int64_t[]){1}, &x}, 1,
				 KC_LOAD_COMPLETE, NULL));
	KC_CHECK(x == values[0]);
}

/* Our own names stay, whatever stands beside them, and so do those of no network. */
static void test_kept(void)
{
	static const char *const ours[] = {"module.flownetfusion.conv0.0.weight",
					   "module.C.conv1.weight"};
	static const char *const others[] = {"C.conv1.weight", "fusion.conv1.weight"};
	struct kc_weights w;

	if (open_names(ours, 2, &w)) {
		KC_CHECK(!w.renamed.tensors);
		check_value(&w, "C.conv1.weight", 2);
		kc_weights_close(&w);
	}
	if (open_names(others, 2, &w)) {
		KC_CHECK(!w.renamed.tensors);
		kc_weights_close(&w);
	}
}

/* Two spellings of one parameter are not chosen from. */
static void test_twice(void)
{
	static const char *const names[] = {"fusion.conv0.weight", "Fusion.conv0.weight"};
	const struct kc_st_tensor *t;
	struct kc_weights w;

	if (!open_names(names, 2, &w))
		return;
	KC_CHECK_ERR(kc_weights_find(&w, "flownetfusion.conv0.0.weight", &t), KC_EFORMAT, "holds");
	kc_weights_close(&w);
}

/* As InstColorization and colorization-pytorch save their generators. */
static void test_wrappers(void)
{
	static const char *const prefixes[] = {"module.", "netG.module.", "module.netG.",
					       "_orig_mod.netG."};
	struct kc_weights w;

	for (size_t i = 0; i < KC_COUNT(prefixes); i++) {
		char *name = kc_format("%smodel10.1.weight", prefixes[i]), *text, *line;

		if (open_names((const char *const *)&name, 1, &w)) {
			check_value(&w, "model10.1.weight", 1);
			KC_CHECK(!strcmp(kc_network_recognise(&w)->name, "siggraph17"));
			text = inspect(&w);
			line = kc_format("names: behind the wrapper \"%s\"\n", prefixes[i]);
			KC_CHECK(strstr(text, line));
			free(line);
			free(text);
			kc_weights_close(&w);
		}
		free(name);
	}
}

static void test_told(void)
{
	static const char *const names[] = {"w"};
	struct kc_weights w;

	if (!open_names(names, 1, &w))
		return;
	KC_CHECK(!kc_weights_note(&w, "mask_cent"));
	KC_CHECK_OK(kc_weights_tell(&w, "mask_cent", "0.5"));
	KC_CHECK_OK(kc_weights_tell(&w, "width", "1"));
	KC_CHECK_OK(kc_weights_tell(&w, "mask_cent", "0.25"));
	KC_CHECK(w.n_notes == 2 && !strcmp(kc_weights_note(&w, "mask_cent"), "0.25"));
	kc_weights_close(&w);
}

static void test_memory_faults(void)
{
	static const char *const names[] = {"fusion.conv0.weight", "C.conv1.bias"};
	const char *path = kc_test_path("names.pth");
	struct kc_weights w;
	int rc = -1;

	if (!open_names(names, 2, &w))
		return;
	kc_weights_close(&w);
	for (long n = 1; rc < 0 && n < 1000; n++) {
		kc_alloc_fail_after(n);
		rc = kc_weights_open(path, &w);
		KC_CHECK(rc >= 0 || rc == KC_ENOMEM);
		kc_alloc_fail_after(0);
	}
	KC_CHECK(rc >= 0);
	KC_CHECK(rc >= 0);
	if (rc >= 0)
		kc_weights_close(&w);
}

const struct kc_test kc_tests_names[] = {
	{"FlowNet 2.0 in another spelling", test_flownet2},
	{"names that stay", test_kept},
	{"two names of one parameter", test_twice},
	{"prefixes of wrappers", test_wrappers},
	{"metadata that are told", test_told},
	{"memory that is short", test_memory_faults},
	{0}};
