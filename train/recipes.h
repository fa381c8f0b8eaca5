/* The recipes, one file each; kc_recipe_of (train/recipes.c) chooses by the configuration. */
#ifndef KC_TRAIN_RECIPES_H
#define KC_TRAIN_RECIPES_H

#include "train/training.h"

extern const struct kc_recipe kc_recipe_tcvc, kc_recipe_idc, kc_recipe_cic;

#endif
