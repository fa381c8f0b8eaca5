#include "train/recipes.h"

static const struct kc_recipe *const recipes[] = {
	[KC_RECIPE_TCVC] = &kc_recipe_tcvc,
	[KC_RECIPE_IDC] = &kc_recipe_idc,
	[KC_RECIPE_CIC] = &kc_recipe_cic,
};

const struct kc_recipe *kc_recipe_of(const struct kc_config *c)
{
	return recipes[c->recipe];
}
