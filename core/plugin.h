/*
 * Parts of the product that need libraries which not every machine has (CUDA, MPI): shared
 * objects that lie beside the programs, or in ../lib/kinemacolor where these are installed, and
 * are loaded when they are asked for.  They use the program's own functions.
 */
#ifndef KC_CORE_PLUGIN_H
#define KC_CORE_PLUGIN_H

#include "core/base.h"

/*
 * The address of that symbol in "libkc_NAME.so", which stays loaded.  KC_ENOENT: there is no such
 * file; KC_ENOSUP: a library that it needs is missing, or it is of another build.
 */
int kc_plugin_symbol(const char *name, const char *symbol, void **out);

#endif
