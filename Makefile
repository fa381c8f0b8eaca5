# make            programs in bin/
# make test       all tests, ends with 'N passed, N failed'
# make check      tests again under ASan and UBSan, lint, static analysis, spills of CUDA kernels
# make bench      timings
# make install    PREFIX=/usr/local
# make emulated   train, golden and gpu_check in build/emulated/bin, whose cuda:N are emulated GPUs
# make BARE=1 BUILD=dir gpu   what checks a GPU, where there are CUDA and cuDNN and little else
#
# BUILD=dir  SANITIZE=address,undefined  CC=...  DNNL=prefix (another oneDNN)  V=1
# MPI=auto|0|1  libkc_mpi.so, for training over several processes: where mpicc is found (auto)

CC      ?= gcc
CXX     ?= g++
BUILD   ?= build
# Programs go to bin/, those of another build beside its objects.
BIN     := $(if $(filter build,$(BUILD)),bin,$(BUILD)/bin)
PREFIX  ?= /usr/local
ifneq ($(V),1)
Q := @
endif

WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
ifndef BARE
PACKAGES := yaml-0.1 libavformat libavcodec libswscale libavutil \
	   $(shell pkg-config --exists hdf5-serial && echo hdf5-serial || echo hdf5)
endif
# Of pkg-config, which wants at least one package.
flags   = $(if $(PACKAGES),$(shell pkg-config $(1) $(PACKAGES)))
OPENCV  := $(firstword $(wildcard /usr/include/opencv4 /usr/local/include/opencv4))
CPPFLAGS += -I. -D_GNU_SOURCE $(call flags,--cflags) \
	    $(if $(DNNL),-I$(DNNL)/include)
OPT     ?= -O2
CFLAGS  += -std=c11 $(OPT) -fno-math-errno -g -fopenmp $(WARN)
CXXFLAGS += -std=c++17 $(OPT) -g -Wall -Wextra $(if $(OPENCV),-isystem $(OPENCV))
LDLIBS  += $(if $(BARE),,$(if $(DNNL),-L$(DNNL)/lib -Wl$(comma)-rpath$(comma)$(DNNL)/lib) -ldnnl \
	   $(call flags,--libs) -lopencv_video -lopencv_imgproc -lopencv_core -lstdc++) \
	   -lm -lpthread -ldl
comma   := ,
ifdef SANITIZE
CFLAGS  += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
CXXFLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined
LDFLAGS += -fsanitize=$(SANITIZE)
endif

# The library through which ranks speak MPI: the programs load it when mpirun or srun started them.
MPI     ?= auto
MPICC   ?= mpicc
MPI_FLAGS := $(if $(filter-out 0,$(MPI)),$(shell command -v $(MPICC) >/dev/null && \
	     { $(MPICC) --showme:compile && $(MPICC) --showme:link || \
	       $(MPICC) -show | cut -d' ' -f2-; } 2>/dev/null))
ifeq ($(MPI)$(strip $(MPI_FLAGS)),1)
$(error MPI=1, but $(MPICC) is not found)
endif
PLUGINS := $(if $(strip $(MPI_FLAGS)),$(BIN)/libkc_mpi.so)

# Files with a main, and the programs they make.
MAINS   := train/train.c train/pack.c eval/colorize.c eval/evaluate.c eval/export.c tools/frames.c \
	   tests/golden.c tests/onnx_case.c tests/gpu_check.c
PROGRAMS := $(patsubst %.c,$(BIN)/%,$(notdir $(wildcard $(MAINS))))
FOLDERS := core layers layers/cpu models losses weights data train eval
SOURCES := $(filter-out $(MAINS),$(wildcard $(FOLDERS:=/*.c)))
ifdef BARE
# tests/absent.c stands in for the rest.
SOURCES := tests/absent.c data/symmetry.c $(filter-out $(MAINS) weights/h5_% train/yaml.c,$(wildcard \
	   core/*.c layers/*.c models/*.c losses/*.c weights/*.c train/*.c))
endif
# Kernels that are compiled once per instruction set level and chosen when a program starts.
VECTOR  := $(if $(BARE),,$(wildcard layers/cpu/vec_*.c))
X86     := $(findstring x86_64,$(shell $(CC) -dumpmachine))
LEVELS  := $(if $(X86),v2 v3 v4,v2)
VECFLAGS := -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast
OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(VECTOR),$(SOURCES))) \
	   $(foreach l,$(LEVELS),$(patsubst %.c,$(BUILD)/%.$(l).o,$(VECTOR))) \
	   $(if $(BARE),,$(patsubst %.cpp,$(BUILD)/%.o,$(wildcard data/*.cpp)))
CHECKERS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out tests/golden.c,$(wildcard tests/golden_*.c)))
# layers/cuda once more, for the device of the tests: a machine without CUDA runs its kernels.
# What needs cuDNN is left out; tests/emulator/cudnn.c stands in for it.
LIBRARY := $(patsubst %,layers/cuda/%.c,plugin cudnn nccl)
EMULATED := $(patsubst %,$(BUILD)/emulated/%.o,$(filter-out %/plugin.c,$(wildcard \
	    tests/emulator/*.c tests/emulator/*.cpp tests/emulator/*.cu layers/cuda/*.cu)) \
	    $(filter-out $(LIBRARY),$(wildcard layers/cuda/*.c)))
TESTS   := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(MAINS) tests/absent.c tests/cudnn_check.c \
	   tests/bench_%.c tests/golden_%.c tests/gpu_%.c,$(wildcard tests/*.c)))

.DEFAULT_GOAL := all
include layers/cuda/plugin.mk

all: $(PROGRAMS) $(PLUGINS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC  $<")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/%.o: %.cpp
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CXX $<")
	$(Q)$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c $< -o $@

# Also for a plugin.
HIDDEN  := -fPIC -fvisibility=hidden
# A GPU reads and writes aligned addresses only: others trap, or SANITIZE reports them.
ALIGNED := $(if $(SANITIZE),,-fsanitize=alignment -fsanitize-undefined-trap-on-error)
$(BUILD)/emulated/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CXX $<")
	$(Q)$(CXX) -Itests/emulator $(CPPFLAGS) $(CXXFLAGS) $(HIDDEN) $(ALIGNED) -MMD -MP \
		-Wno-unknown-pragmas -x c++ -c $< -o $@

$(BUILD)/emulated/%.c.o: %.c
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC  $<")
	$(Q)$(CC) -Itests/emulator $(CPPFLAGS) $(CFLAGS) $(HIDDEN) -MMD -MP -c $< -o $@

$(BUILD)/emulated/%.cpp.o: %.cpp
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CXX $<")
	$(Q)$(CXX) -Itests/emulator $(CPPFLAGS) $(CXXFLAGS) $(HIDDEN) -MMD -MP -c $< -o $@

define level_rule
$(BUILD)/%.$(1).o: %.c
	@mkdir -p $$(@D)
	$(if $(Q),@echo "  CC  $$< ($(1))")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(VECFLAGS) $(if $(X86),-march=x86-64-$(1)) \
		$(if $(filter v4,$(1)),-mprefer-vector-width=512) -DKC_ISA=$(1) -MMD -MP -c $$< -o $$@
endef
$(foreach l,$(LEVELS),$(eval $(call level_rule,$(l))))

$(BUILD)/libkc.a: $(OBJECTS)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BIN)/onnx_case: $(BUILD)/tests/onnx_case.o $(BUILD)/libkc.a
$(BIN)/golden: $(BUILD)/tests/golden.o $(CHECKERS) $(BUILD)/libkc.a
$(BIN)/gpu_check: $(patsubst %,$(BUILD)/tests/%.o,gpu_check gpu_bench gpu_ranks op_cases op_check \
		  op_pointwise op_trial step_run golden_run) $(BUILD)/libkc.a
$(BIN)/train: $(BUILD)/train/train.o $(BUILD)/libkc.a
$(BIN)/pack: $(BUILD)/train/pack.o $(BUILD)/libkc.a
$(BIN)/colorize: $(BUILD)/eval/colorize.o $(BUILD)/libkc.a
$(BIN)/evaluate: $(BUILD)/eval/evaluate.o $(BUILD)/libkc.a
$(BIN)/export: $(BUILD)/eval/export.o $(BUILD)/libkc.a
$(BIN)/frames: $(BUILD)/tools/frames.o $(BUILD)/libkc.a
$(TESTS): CPPFLAGS += -Itests/emulator
# Its runs find the emulated device, too (tests/plugins.c).
$(BUILD)/test: $(TESTS) $(CHECKERS) $(EMULATED) $(BUILD)/emulated/tests/emulator/plugin.c.o \
		$(BUILD)/libkc.a
$(BUILD)/test: LDFLAGS += -Wl,--wrap=kc_plugin_symbol
$(BUILD)/bench: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/bench_*.c)) $(BUILD)/libkc.a
# Plugins use any function of core/ and layers/, whether the program does or not.
$(PROGRAMS) $(BUILD)/test $(BUILD)/bench: $(filter $(BUILD)/core/%.o,$(OBJECTS)) \
		$(patsubst %.c,$(BUILD)/%.o,$(wildcard layers/*.c))
$(PROGRAMS) $(BUILD)/test $(BUILD)/bench:
	@mkdir -p $(@D)
	$(if $(Q),@echo "  LD  $@")
	$(Q)$(CC) $(CFLAGS) -rdynamic $(LDFLAGS) $(filter-out %.a,$^) $(filter %.a,$^) $(LDLIBS) -o $@

$(BIN)/libkc_mpi.so: core/mpi/mpi.c core/transport.h
	@mkdir -p $(@D)
	$(if $(Q),@echo "  MPI $@")
	$(Q)$(CC) -I. -D_GNU_SOURCE $(CFLAGS) -fPIC -shared -fvisibility=hidden $< $(MPI_FLAGS) -o $@

# Programs for which cuda:N are emulated devices, in $(BUILD)/emulated/bin.
emulated: $(patsubst %,$(BUILD)/emulated/bin/%,train golden gpu_check libkc_cuda.so)
$(BUILD)/emulated/bin/libkc_cuda.so: $(EMULATED) $(BUILD)/emulated/tests/emulator/plugin.c.o
	@mkdir -p $(@D)
	$(if $(Q),@echo "  LD  $@")
	$(Q)$(CXX) $(CXXFLAGS) $(LDFLAGS) -shared $^ -o $@
$(BUILD)/emulated/bin/%: $(BIN)/%
	@mkdir -p $(@D)
	$(Q)cp -f --remove-destination $< $@

# Fixtures on the emulated GPU, in float32 and bf16; FIXTURES=... for others than those in tests/golden.
FIXTURES ?= $(wildcard tests/golden/*.safetensors)
emulated-fixtures: emulated
	$(BUILD)/emulated/bin/golden --device cuda:0 $(FIXTURES)
	$(BUILD)/emulated/bin/golden --device cuda:0 --dtype bf16 $(FIXTURES)

tests: $(BUILD)/test emulated

gpu: $(BIN)/gpu_check $(BIN)/golden $(PLUGINS)

test: all tests
	$(BUILD)/test

bench: $(BUILD)/bench
	$(BUILD)/bench

lint:
	sh tools/lint.sh

# Registers of every CUDA kernel; no spills.  Needs nvcc, no GPU.
cuda-gate:
	$(if $(NVCC),sh tools/ptxas.sh $(NVCC),@echo "cuda-gate: no nvcc")

# The tests under sanitizers (with the leaks of libraries left out), then what needs no run.
check: lint cuda-gate
	$(MAKE) BUILD=$(BUILD)/asan SANITIZE=address,undefined OPT=-O1 $(BUILD)/asan/test
	ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=suppressions=tests/leaks.supp $(BUILD)/asan/test
	cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,portability \
		--suppress=missingIncludeSystem --suppressions-list=tests/cppcheck.supp -I. \
		$(FOLDERS)
	$(MAKE) test
	sh tests/resume.sh
	sh tests/ranks.sh
	sh tests/ranks_cuda.sh
	sh tests/onnx.sh $(BIN)/onnx_case
	sh tests/memory.sh
	sh tests/h5py.sh
	sh tests/torch.sh
	sh tests/gan.sh
	$(MAKE) BARE=1 BUILD=$(BUILD)/bare CUDA=0 gpu
	$(MAKE) emulated-fixtures
	sh tests/gpu_check.sh $(BUILD)/emulated/bin
	BIN=$(BUILD)/emulated/bin DEVICE=cuda sh tests/resume.sh 5
	$(if $(HAVE_CUDA),$(MAKE) cudnn-check)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/kinemacolor/configs
	install $(filter-out %/golden %/onnx_case %/gpu_check,$(PROGRAMS)) $(DESTDIR)$(PREFIX)/bin
	$(if $(PLUGINS),install -d $(DESTDIR)$(PREFIX)/lib/kinemacolor)
	$(if $(PLUGINS),install -m 644 $(PLUGINS) $(DESTDIR)$(PREFIX)/lib/kinemacolor)
	install -m 644 configs/*.yml $(DESTDIR)$(PREFIX)/share/kinemacolor/configs

clean:
	rm -rf $(BUILD) $(BIN)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.PHONY: all gpu emulated emulated-fixtures tests test check lint cuda-gate bench install clean
