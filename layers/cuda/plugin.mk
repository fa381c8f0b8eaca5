# libkc_cuda.so: built where nvcc and cuDNN are found.  CUDA=0 leaves it out, CUDA=1 insists on it.
# CUDA_HOME=prefix  CUDNN=prefix  ARCHS="80 90 ..." (compute capabilities; default: those below
# that nvcc knows, or that of the GPU of this machine with ARCHS=native)

CUDA      ?= auto
CUDA_HOME ?= $(firstword $(wildcard /usr/local/cuda /opt/cuda) \
	     $(patsubst %/bin/nvcc,%,$(shell command -v nvcc 2>/dev/null)))
NVCC      := $(wildcard $(CUDA_HOME)/bin/nvcc)
# cuDNN: of the system or beside CUDA, else as Python packages bring it.
CUDNN     ?= $(patsubst %/include/cudnn_graph.h,%,$(firstword $(wildcard \
	     $(CUDA_HOME)/include/cudnn_graph.h /usr/include/cudnn_graph.h \
	     /usr/include/x86_64-linux-gnu/cudnn_graph.h \
	     /usr/lib/python3*/*-packages/nvidia/cudnn/include/cudnn_graph.h \
	     /usr/local/lib/python3*/*-packages/nvidia/cudnn/include/cudnn_graph.h)))
HAVE_CUDA := $(if $(filter 0,$(CUDA)),,$(if $(NVCC),$(if $(CUDNN),yes)))
ifeq ($(CUDA)$(HAVE_CUDA),1)
$(error CUDA=1, but $(if $(NVCC),cudnn_graph.h,nvcc) is not found; set CUDA_HOME or CUDNN)
endif

ifdef HAVE_CUDA
KNOWN     := $(patsubst sm_%,%,$(shell $(NVCC) --list-gpu-code))
ARCHS     ?= $(filter 80 90 100 120,$(KNOWN))
CUDNN_LIB := $(firstword $(wildcard $(CUDNN)/lib64 $(CUDNN)/lib/x86_64-linux-gnu $(CUDNN)/lib))
ifeq ($(ARCHS),native)
GENCODE   := -arch=native
else
GENCODE   := $(foreach a,$(ARCHS),-gencode arch=compute_$(a),code=sm_$(a)) \
	     $(foreach a,$(lastword $(ARCHS)),-gencode arch=compute_$(a),code=compute_$(a))
endif
NVCCFLAGS := -O3 -std=c++17 $(GENCODE) -I. -Xcompiler -fPIC,-fno-exceptions,-fno-rtti \
	     -Xcompiler -fno-threadsafe-statics,-Wall,-Wextra
CUDA_OBJECTS := $(patsubst %,$(BUILD)/plugin/%.o,$(wildcard layers/cuda/*.c layers/cuda/*.cu))
CUDNN_FILE := $(firstword $(wildcard $(CUDNN_LIB)/libcudnn_graph.so $(CUDNN_LIB)/libcudnn_graph.so.9))

$(BUILD)/plugin/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(if $(Q),@echo "  NVCC $<")
	$(Q)$(NVCC) $(NVCCFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/plugin/%.c.o: %.c
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC  $<")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden -isystem $(CUDA_HOME)/include \
		-isystem $(CUDNN)/include -MMD -MP -c $< -o $@

CUDA_LIBS := -L$(CUDA_HOME)/lib64 -lcudart_static -lcublas $(CUDNN_FILE) \
	     -Wl,-rpath,$(CUDA_HOME)/lib64:$(CUDNN_LIB) -ldl -lrt -lpthread

$(BIN)/libkc_cuda.so: $(CUDA_OBJECTS)
	@mkdir -p $(@D)
	$(if $(Q),@echo "  LD  $@")
	$(Q)$(CC) -shared -o $@ $^ $(CUDA_LIBS)

# What cuDNN can run, asked without a GPU.
$(BUILD)/cudnn_check: $(BUILD)/plugin/tests/cudnn_check.c.o $(CUDA_OBJECTS) $(BUILD)/libkc.a
	$(if $(Q),@echo "  LD  $@")
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(CUDA_LIBS) $(LDLIBS) -o $@

cudnn-check: $(BUILD)/cudnn_check
	$(BUILD)/cudnn_check
.PHONY: cudnn-check

PLUGINS += $(BIN)/libkc_cuda.so
endif
