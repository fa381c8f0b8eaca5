# libkc_cuda.so: built where nvcc and cuDNN are found.  CUDA=0 leaves it out, CUDA=1 insists on it.
# CUDA_HOME=prefix  CUDNN=prefix  CUBLAS=prefix
# ARCHS="80 90 ..."  (compute capabilities; default: those below that nvcc knows, or that of the GPU
# of this machine with ARCHS=native)

, := ,
CUDA      ?= auto
CUDA_HOME ?= $(patsubst %/bin/nvcc,%,$(firstword $(wildcard /usr/local/cuda/bin/nvcc \
	     /opt/cuda/bin/nvcc) $(shell command -v nvcc 2>/dev/null)))
NVCC      := $(wildcard $(CUDA_HOME)/bin/nvcc)
# What Python's packages bring; asked for only when nothing else has it.
PYTHON_NVIDIA = $(eval PYTHON_NVIDIA := $(shell python3 -c 'import nvidia; print(*nvidia.__path__)' \
		2>/dev/null) $(wildcard /usr/lib/python3*/*-packages/nvidia \
		/usr/local/lib/python3*/*-packages/nvidia))$(PYTHON_NVIDIA)
# header,prefix: its folder.  header,prefixes: the prefix that has it.  library,prefixes: its file.
header_in  = $(patsubst %/,%,$(dir $(firstword $(wildcard $(2)/include/$(1) \
	     $(2)/include/x86_64-linux-gnu/$(1)))))
prefix_of  = $(firstword $(foreach p,$(2),$(if $(call header_in,$(1),$(p)),$(p))))
library_in = $(firstword $(wildcard $(foreach p,$(2),$(foreach d,lib64 lib lib/x86_64-linux-gnu,\
	     $(foreach v,.so .so.[0-9] .so.[0-9][0-9],$(p)/$(d)/lib$(1)$(v))))))
# Beside CUDA or of the system, else of Python.
CUDNN     ?= $(or $(call prefix_of,cudnn_graph.h,$(CUDA_HOME) /usr),$(call \
	     prefix_of,cudnn_graph.h,$(PYTHON_NVIDIA:=/cudnn)))
CUBLAS    ?= $(or $(call prefix_of,cublas_v2.h,$(CUDA_HOME) /usr),$(call \
	     prefix_of,cublas_v2.h,$(PYTHON_NVIDIA:=/cu13) $(PYTHON_NVIDIA:=/cublas)))
HAVE_CUDA := $(if $(filter 0,$(CUDA)),,$(if $(NVCC),$(if $(CUDNN),$(if $(CUBLAS),yes))))
ifeq ($(CUDA)$(HAVE_CUDA),1)
$(error CUDA=1, but $(if $(NVCC),$(if $(CUDNN),cublas_v2.h,cudnn_graph.h),nvcc) is not found; \
	set CUDA_HOME, CUDNN or CUBLAS)
endif

ifdef HAVE_CUDA
KNOWN     := $(patsubst sm_%,%,$(shell $(NVCC) --list-gpu-code))
ARCHS     ?= $(filter 80 90 100 120,$(KNOWN))
CUDNN     := $(CUDNN)
CUBLAS    := $(CUBLAS)
ifeq ($(ARCHS),native)
GENCODE   := -arch=native
else
GENCODE   := $(foreach a,$(ARCHS),-gencode arch=compute_$(a),code=sm_$(a)) \
	     $(foreach a,$(lastword $(ARCHS)),-gencode arch=compute_$(a),code=compute_$(a))
endif
NVCCFLAGS := -O3 -std=c++17 $(GENCODE) -I. -Xcompiler -fPIC,-fno-exceptions,-fno-rtti \
	     -Xcompiler -fno-threadsafe-statics,-Wall,-Wextra
CUDA_OBJECTS := $(patsubst %,$(BUILD)/plugin/%.o,$(wildcard layers/cuda/*.c layers/cuda/*.cu))
CUDA_INCLUDES := $(patsubst %,-isystem %,$(CUDA_HOME)/include \
		 $(call header_in,cudnn_graph.h,$(CUDNN)) $(call header_in,cublas_v2.h,$(CUBLAS)))
CUDA_FOLDERS := $(wildcard $(addprefix $(CUDA_HOME)/,lib64 lib targets/x86_64-linux/lib))
CUDA_FILES := $(call library_in,cublas,$(CUBLAS)) $(call library_in,cudnn_graph,$(CUDNN))
# NCCL is loaded when it is needed, from where it is now.
NCCL      := $(or $(call library_in,nccl,$(CUDA_HOME) /usr),$(call \
	     library_in,nccl,$(PYTHON_NVIDIA:=/nccl)))

$(BUILD)/plugin/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(if $(Q),@echo "  NVCC $<")
	$(Q)$(NVCC) $(NVCCFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/plugin/%.c.o: %.c
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC  $<")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden $(CUDA_INCLUDES) -MMD -MP \
		-c $< -o $@

CUDA_LIBS := $(CUDA_FOLDERS:%=-L%) -lcudart_static $(CUDA_FILES) -ldl -lrt -lpthread \
	     $(addprefix -Wl$(,)-rpath$(,),$(CUDA_FOLDERS) $(patsubst %/,%,$(sort $(dir \
	     $(CUDA_FILES) $(NCCL)))))

$(BIN)/libkc_cuda.so: $(CUDA_OBJECTS)
	@mkdir -p $(@D)
	$(if $(Q),@echo "  LD  $@")
	$(Q)$(CC) -shared -o $@ $^ $(CUDA_LIBS)

# What cuDNN can run, asked without a GPU.
$(BUILD)/cudnn_check: $(BUILD)/plugin/tests/cudnn_check.c.o $(CUDA_OBJECTS) \
		      $(patsubst %,$(BUILD)/tests/%.o,op_cases op_trial golden_run) $(BUILD)/libkc.a
	$(if $(Q),@echo "  LD  $@")
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(CUDA_LIBS) $(LDLIBS) -o $@

cudnn-check: $(BUILD)/cudnn_check
	$(BUILD)/cudnn_check
.PHONY: cudnn-check

PLUGINS += $(BIN)/libkc_cuda.so
endif
