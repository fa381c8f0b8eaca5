/*
 * Choices of engines, kept in a text file between runs: one line for each signature, library
 * version and device.  Engines are kept by number and knobs, never as compiled code.
 */
#ifndef KC_LAYERS_CUDA_CUDNN_CACHE_H
#define KC_LAYERS_CUDA_CUDNN_CACHE_H

#include "layers/cuda/cudnn_conv.h"

struct kc_cudnn_cache;

/*
 * device: "NVIDIA H200".  path NULL: kept in memory alone.  A missing file is an empty one; lines
 * that are damaged are skipped and counted, those of other versions and devices are kept.
 */
int kc_cudnn_cache_open(struct kc_cudnn_cache **, const char *path, const char *device);
void kc_cudnn_cache_free(struct kc_cudnn_cache *);
/* $XDG_CACHE_HOME/kinemacolor/cudnn.txt, else ~/.cache/...; NULL when neither is known.  The
 * caller frees it. */
char *kc_cudnn_cache_path(void);

/* Damaged lines that were skipped. */
int kc_cudnn_cache_skipped(const struct kc_cudnn_cache *);
bool kc_cudnn_cache_find(const struct kc_cudnn_cache *, const char *key,
			 struct kc_cudnn_choice *);
/* Replaces what the key had, and the file (atomically) with what it holds by now and this. */
int kc_cudnn_cache_add(struct kc_cudnn_cache *, const char *key, const struct kc_cudnn_choice *);

#endif
