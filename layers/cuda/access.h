/* How kernels read the channels of images: in C and in CUDA. */
#ifndef KC_LAYERS_CUDA_ACCESS_H
#define KC_LAYERS_CUDA_ACCESS_H

enum kc_cu_access {
	KC_CU_ANY,              /* one by one, types and strides from the views */
	KC_CU_F32,              /* four float32 */
	KC_CU_BF16,             /* eight bf16 */
	KC_CU_F32_2,            /* the two, or the three, that there are: float32, neighbours */
	KC_CU_F32_3
};

#endif
