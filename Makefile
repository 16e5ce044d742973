# librelora. One Makefile, not recursive. `make help` lists the targets.

# ---- settings: any of these can be given on the command line ----
PKG_CONFIG ?= pkg-config
INSTALL    ?= install
OBJCOPY    ?= objcopy
NM         ?= nm
CONFIG     ?= release
ONEDNN     ?= 1
OPENMP     ?= 1
WERROR     ?= 1
prefix     ?= /usr/local
libdir     ?= $(prefix)/lib
includedir ?= $(prefix)/include
Q          := $(if $(filter 1,$(V)),,@)

# Debian packages: to build and install; for the tests; for the demonstration.
DEPS := gcc g++ make pkg-config libdnnl-dev libjansson-dev libxxhash-dev \
        check python3 abigail-tools \
        gnuplot-nox bible-kjv

# For lint, check-long and fuzzing; `make deps-dev` installs them.
DEV_DEPS := clang libclang-rt-dev clang-tidy cppcheck valgrind

# ---- version: read from the header, written nowhere else ----
vnum     = $(shell sed -n 's/^.define RELORA_$(1) //p' include/relora/version.h)
VERSION := $(call vnum,VERSION_MAJOR).$(call vnum,VERSION_MINOR).$(call vnum,VERSION_PATCH)
ABI     := $(call vnum,ABI)

# ---- what a configuration means ----
CFLAGS_release := -O3 -g
CFLAGS_debug   := -O0 -g3
CFLAGS_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
                  -fno-sanitize-recover=all
CFLAGS_tsan    := -O1 -g -fsanitize=thread
CFLAGS_cov     := -O0 -g --coverage -fprofile-update=atomic
ifeq ($(CFLAGS_$(CONFIG)),)
  $(error CONFIG=$(CONFIG) is not one of release debug asan tsan cov)
endif
ifeq ($(CONFIG),tsan) # neither OpenMP's runtime nor oneDNN is instrumented: they would look like races
  override OPENMP := 0
  EXAMPLE_CFLAGS ?= -O0 # no target_clones: their resolvers run before the sanitizer is ready
endif
ifeq ($(OPENMP),0) # and none with oneDNN, which asks OpenMP for its threads
  override ONEDNN := 0
endif
OPENMP_CFLAGS := $(if $(filter 1,$(OPENMP)),-fopenmp,-Wno-unknown-pragmas -Wno-unused-function -pthread)
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
        -Wpointer-arith -Wcast-qual -Wwrite-strings -Wdouble-promotion $(if $(filter 1,$(WERROR)),-Werror)
ALL_CPPFLAGS = -Iinclude -D_POSIX_C_SOURCE=200809L $(CPPFLAGS)
ALL_CFLAGS   = -std=c11 $(WARN) $(CFLAGS_$(CONFIG)) $(OPENMP_CFLAGS) $(CFLAGS)
ALL_LDFLAGS  = -Wl,-z,noexecstack -Wl,--as-needed $(LDFLAGS)
LDLIBS       = $(if $(filter 1,$(ONEDNN)),-ldnnl) -ljansson -lm -ldl

# The library: bits must not depend on whether a compiler fuses a * b + c. The two after that let it
# vectorise sqrtf() and comparisons, and change no bit.
LIB_CPPFLAGS = -Isrc -DRELORA_ONEDNN=$(ONEDNN) $(ALL_CPPFLAGS)
LIB_CFLAGS   = -ffp-contract=off -fno-math-errno -fno-trapping-math \
               -fPIC -fvisibility=hidden $(ALL_CFLAGS)
LIB_LDFLAGS  = $(if $(filter asan tsan,$(CONFIG)),,-Wl,-z,defs) -Wl,-soname,librelora.so.$(ABI) \
               -Wl,--no-undefined-version -Wl,--version-script=lib/librelora.map \
               -Wl,-z,nodelete # OpenMP's threads outlive a dlclose(), and return into this code
# Programs of examples/pretrain and examples/bench are made to run here, not to be packaged.
EXAMPLE_CFLAGS ?= $(if $(filter release,$(CONFIG)),-O3 -march=native) -Wno-pass-failed

# ---- files ----
# Configurations, and compilers other than gcc, have folders of their own, so objects never mix.
B    := build/$(CONFIG)$(if $(filter 0,$(ONEDNN)),-portable)$(if $(filter 0,$(OPENMP)),$(if $(filter tsan,$(CONFIG)),,-threads))
B    := $(B)$(patsubst %,-%,$(filter-out cc gcc,$(notdir $(lastword $(CC)))))
SRCS := $(sort $(wildcard src/*.c src/cpu/*.c))
ifeq ($(ONEDNN),0)
  SRCS := $(filter-out src/cpu/cpu_gemm_onednn.c,$(SRCS))
endif
OBJS     := $(SRCS:%.c=$(B)/%.o)
HEADERS  := $(sort $(wildcard include/relora/*.h))
SO       := $(B)/librelora.so.$(VERSION)
BUILT    := $(SO) $(B)/librelora.a
SUITES   := $(filter-out cuda,$(sort $(patsubst test/%/main.c,%,$(wildcard test/*/main.c))))
EXAMPLES := $(patsubst examples/%.c,$(B)/examples/%,$(filter-out %/cuda_stream.c,$(sort $(wildcard examples/*.c))))
PRETRAIN := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard examples/pretrain/*.c)))
BENCH    := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard examples/bench/*.c)))
FIRST    := $(filter deps deps-dev,$(MAKECMDGOALS)) # `make -j2 deps check`: nothing starts before it is done

.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all lib examples pretrain demo bench bench-plot bench-torch deps deps-dev install uninstall clean help \
        check check-headers symbols check-system-memory check-examples check-pretrain check-crash check-resume \
        check-fuzz check-install check-long check-transformers
all: lib

# ---- the library ----
## lib: librelora.so*, librelora.a, relora.pc and, with CUDA=1, librelora_cuda.so; a release build is copied to lib/
lib: $(BUILT) $(B)/relora.pc
ifeq ($(CONFIG),release)
	$(Q)cp -Pp --remove-destination $(BUILT) $(B)/librelora.so.$(ABI) $(B)/librelora.so $(MODULE) lib
endif

$(SO): $(OBJS) lib/librelora.map
	@echo LD $@
	$(Q)$(CC) -shared $(LIB_CFLAGS) $(OBJS) $(ALL_LDFLAGS) $(LIB_LDFLAGS) $(LDLIBS) -o $@
	$(Q)ln -sf $(@F) $(B)/librelora.so.$(ABI)
	$(Q)ln -sf librelora.so.$(ABI) $(B)/librelora.so

# One object whose inner names are made local, so that they cannot collide with those of a program.
$(B)/librelora.a: $(OBJS)
	@echo AR $@
	$(Q)$(CC) $(CFLAGS) -r -nostdlib $^ -o $(B)/librelora.o
	$(Q)$(OBJCOPY) --localize-hidden $(B)/librelora.o
	$(Q)$(RM) $@ && $(AR) rcs $@ $(B)/librelora.o

$(B)/src/%.o: src/%.c Makefile | $(FIRST)
	@mkdir -p $(@D)
	@echo CC $<
	$(Q)$(CC) $(LIB_CPPFLAGS) $(LIB_CFLAGS) -MMD -MP -c $< -o $@

# Sums of products, where it may be fused: each is written as such, and the order is in the source.
$(B)/src/cpu/cpu_gemm_own.o: LIB_CFLAGS += -ffp-contract=fast

-include $(OBJS:.o=.d) $(PRETRAIN:.o=.d) $(BENCH:.o=.d) $(EXAMPLES:=.d) $(wildcard $(B)/test/*/*.d)

.PHONY: $(B)/relora.pc # must follow prefix, which make cannot see change
$(B)/relora.pc: pkgconfig/relora.pc.in
	@mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(prefix)|' -e 's|@VERSION@|$(VERSION)|' \
	  -e 's|@LIBDIR@|$(patsubst $(prefix)%,$${prefix}%,$(libdir))|' \
	  -e 's|@INCLUDEDIR@|$(patsubst $(prefix)%,$${prefix}%,$(includedir))|' \
	  -e 's|@LIBS_PRIVATE@|$(strip $(LDLIBS) $(filter -fopenmp -pthread,$(OPENMP_CFLAGS)))|' $< > $@

# ---- examples and benchmarks: programs that see only the public headers and librelora.a ----
LINK_PROGRAM = $(CC) $(ALL_CFLAGS) $(EXAMPLE_CFLAGS) $(filter %.o %.a,$^) $(ALL_LDFLAGS) \
               $(LDLIBS) -o $@

$(B)/examples/%.o: examples/%.c | $(FIRST)
	@mkdir -p $(@D)
	@echo CC $<
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(EXAMPLE_CFLAGS) -MMD -MP -c $< -o $@

$(EXAMPLES): %: %.o $(B)/librelora.a
	@echo LD $@
	$(Q)$(LINK_PROGRAM)

$(B)/pretrain: $(PRETRAIN) $(B)/librelora.a
	@echo LD $@
	$(Q)$(LINK_PROGRAM) $(CUDART)

$(B)/bench: $(BENCH) $(B)/librelora.a
	@echo LD $@
	$(Q)$(LINK_PROGRAM)

## examples: the small programs of examples/
examples: $(EXAMPLES)

## pretrain: the program of examples/pretrain, which trains a language model
pretrain: $(B)/pretrain

## demo: train a small language model with ReLoRA, here and now, and plot it as demo.png
demo: $(B)/pretrain | $(FIRST)
	@examples/pretrain/demo.sh $(B)/pretrain demo.png

## bench: measure the library here, write bench.json; BENCH_ARGS=--help shows its options
bench: $(B)/bench $(if $(PRETRAIN),$(B)/pretrain) | $(FIRST)
	@$(B)/bench --json bench.json $(if $(PRETRAIN),--pretrain $(B)/pretrain) $(BENCH_ARGS)

## bench-plot: draw bench.json, and bench-torch.json if it is there, as bench.png
bench-plot:
	$(Q)test -f bench.json || { echo "bench.json is made by 'make bench'"; exit 1; }
	$(Q)gnuplot -c examples/bench/bench.gp . bench.png

## bench-torch: the same layers, model and optimizer in PyTorch, in turn with this library, if PYTHON has torch
bench-torch: $(SO) $(if $(PRETRAIN),$(B)/pretrain) | $(FIRST)
	$(Q)if $(PYTHON) -c 'import torch' 2> /dev/null; \
	  then $(PYTHON) test/bench/torch_relora.py . $(SO) $(B)/pretrain bench-torch.json; \
	  else echo "bench-torch: $(PYTHON) has no torch; PYTHON=... names one that has"; fi

# ---- CUDA: librelora_cuda.so, from cuda/ (docs/cuda.md); by default where there is an nvcc ----
NVCC ?= $(firstword $(shell command -v nvcc 2> /dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
CUDA ?= $(if $(NVCC),$(if $(filter release debug,$(CONFIG)),1,0),0)

# Code for the A100 and the H100 and their kin, and PTX that a driver compiles for what comes later. Bits
# must be those of the CPU, so a * b + c is fused only where a kernel says fmaf().
CUDA_CODE          := -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90]
CUDA_FLAGS_release := -O3 -lineinfo
CUDA_FLAGS_debug   := -O0 -g -G
CUDA_FLAGS = -std=c++17 -fmad=false $(CUDA_CODE) $(CUDA_FLAGS_$(CONFIG)) -Isrc -Iinclude \
             $(if $(filter 1,$(WERROR)),--Werror all-warnings) \
             -Xcompiler -Wall,-Wextra,-fPIC,-fvisibility=hidden,-fno-exceptions,-fno-rtti,-ffp-contract=off $(NVCCFLAGS)
CUDA_OBJS := $(patsubst %.cu,$(B)/%.o,$(sort $(wildcard cuda/*.cu)))
MODULE    := $(if $(filter 1,$(CUDA)),$(B)/librelora_cuda.so)

$(B)/cuda/%.o: cuda/%.cu Makefile | $(FIRST)
	@mkdir -p $(@D)
	@echo NVCC $<
	$(Q)$(NVCC) $(CUDA_FLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@
-include $(CUDA_OBJS:.o=.d)

# The CUDA runtime is inside and out of sight, so it cannot meet another one in the host; cuBLASLt is loaded
# with the module, which says so where it is missing.
$(B)/librelora_cuda.so: $(CUDA_OBJS) $(B)/src/memory.o lib/librelora_cuda.map
	@echo LD $@
	$(Q)$(NVCC) -shared $(CUDA_CODE) -cudart static -Xcompiler -static-libstdc++,-static-libgcc \
	  $(CUDA_OBJS) $(B)/src/memory.o -o $@ -Xlinker --as-needed,-z,defs,-z,noexecstack \
	  -Xlinker --exclude-libs,ALL,--no-undefined-version,--version-script=lib/librelora_cuda.map -lcublasLt

lib check install: $(MODULE)

## check-cuda-module: what librelora_cuda.so exports, needs and holds code for, and how it loads here
.PHONY: check-cuda-module
check-cuda-module: $(MODULE) $(B)/load-module
	$(Q)NM=$(NM) NVCC=$(NVCC) sh test/cuda_module/check.sh $(MODULE) $(B)/load-module

$(B)/load-module: $(B)/test/cuda_module/load.o
	@echo LD $@
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(ALL_LDFLAGS) -ldl -o $@

# ---- CUDA: the device's part of examples/pretrain ----
# Linked with the program where there is an nvcc; elsewhere `--device cuda` says what is missing. Here a * b + c
# may be fused.
PRETRAIN_CU   := $(sort $(wildcard examples/pretrain/cuda/*.cu))
PRETRAIN_CUDA := $(if $(filter 1,$(CUDA)),$(PRETRAIN_CU:%.cu=$(B)/%.o))
CUDART        := $(if $(PRETRAIN_CUDA),$(patsubst %/bin/nvcc,-L%/lib64 -L%/lib,$(realpath $(NVCC))) -lcudart_static -lstdc++ -lpthread -ldl -lrt)

$(B)/examples/pretrain/cuda/%.o: examples/pretrain/cuda/%.cu Makefile | $(FIRST)
	@mkdir -p $(@D)
	@echo NVCC $<
	$(Q)$(NVCC) $(filter-out -fmad=false,$(CUDA_FLAGS)) -MMD -MP -MF $(@:.o=.d) -c $< -o $@
-include $(PRETRAIN_CUDA:.o=.d)
$(B)/pretrain: $(PRETRAIN_CUDA)

# The model on a device beside the CPU's; without a device the tests say that they were skipped.
PRETRAIN_TEST = $(patsubst %.c,$(B)/%.o,$(wildcard test/cuda/pretrain/*.c test/support/*.c)) \
                $(filter-out %/main.o,$(PRETRAIN)) $(OBJS)
$(B)/test-pretrain: $(PRETRAIN_TEST) $(PRETRAIN_CUDA)
	@echo LD $@
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(ALL_LDFLAGS) $(LDLIBS) $(CUDART) $(CHECK_LIBS) -o $@

.PHONY: check-cuda-pretrain check-cuda-resume check-emulated-pretrain check-emulated-resume
check-cuda-pretrain: $(B)/test-pretrain $(MODULE)
	$(Q)RELORA_TEST_MODULE_DIR=$(CURDIR)/$(B) $<
check-cuda-resume: $(B)/pretrain $(B)/cuda_stream $(MODULE)
	$(Q)$(B)/cuda_stream > /dev/null 2>&1; [ $$? != 77 ] || { echo "Skipped: 1, no device for $<"; exit 0; }; \
	  bash test/resume.sh $< --device cuda

# ---- CUDA: the same sources on an emulated device, for machines that have none ----
EMULATOR       := test/cuda/emulator
EMULATOR_OBJS  := $(patsubst %.cpp,$(B)/%.o,$(sort $(wildcard $(EMULATOR)/*.cpp)))
EMULATED_OBJS  := $(patsubst %.cu,$(B)/emulated/%.o,$(sort $(wildcard cuda/*.cu)))
EMULATED_FLAGS  = -std=c++17 -O1 -g -ffp-contract=off -fPIC -Wall -Wextra $(if $(filter 1,$(WERROR)),-Werror) \
                  -I$(EMULATOR) -Isrc -Iinclude $(CXXFLAGS)
# The address and thread sanitizers do not follow threads of a device from stack to stack; coverage is of src/.
EMULATED       := $(if $(filter asan tsan cov,$(CONFIG)),,$(B)/emulated/librelora_cuda.so)

$(EMULATOR_OBJS): $(B)/%.o: %.cpp Makefile | $(FIRST)
	@mkdir -p $(@D)
	@echo CXX $<
	$(Q)$(CXX) $(EMULATED_FLAGS) -O3 -MMD -MP -c $< -o $@
$(B)/emulated/%.o: %.cu Makefile | $(FIRST)
	@mkdir -p $(@D)
	@echo CXX $<
	$(Q)$(CXX) $(EMULATED_FLAGS) -fvisibility=hidden -x c++ -MMD -MP -c $< -o $@
-include $(EMULATOR_OBJS:.o=.d) $(EMULATED_OBJS:.o=.d)

$(B)/emulated/libemulated_cuda.so: $(EMULATOR_OBJS)
	@echo LD $@
	$(Q)$(CXX) -shared -Wl,-soname,$(@F),-z,defs $^ -ldl -o $@

# The module as it is, but for the emulator in the place of CUDA.
$(B)/emulated/librelora_cuda.so: $(EMULATED_OBJS) $(B)/src/memory.o $(B)/emulated/libemulated_cuda.so lib/librelora_cuda.map
	@echo LD $@
	$(Q)$(CXX) -shared $(filter %.o,$^) -L$(@D) -lemulated_cuda -Wl,-rpath,'$$ORIGIN' \
	  -Wl,-z,defs,--version-script=lib/librelora_cuda.map -o $@

# The emulator's own tests are CUDA sources too.
EMULATOR_TESTS := $(patsubst %.cu,$(B)/emulated/%.o,$(sort $(wildcard $(EMULATOR)/tests/*.cu)))
$(EMULATOR_TESTS): CXXFLAGS += $$($(PKG_CONFIG) --cflags check)
-include $(EMULATOR_TESTS:.o=.d)
$(B)/emulated/test-emulator: $(EMULATOR_TESTS) $(B)/emulated/libemulated_cuda.so
	@echo LD $@
	$(Q)$(CXX) $(filter %.o,$^) -L$(@D) -lemulated_cuda -Wl,-rpath,'$$ORIGIN' $$($(PKG_CONFIG) --libs check) -o $@

## check-emulator: the tests of test/cuda/emulator itself, which runs CUDA's sources on the CPU
.PHONY: check-emulator
check-emulator: $(if $(EMULATED),$(B)/emulated/test-emulator)
	$(Q)sh $(EMULATOR)/values.sh $(if $(NVCC),$(NVCC:%/bin/nvcc=%)/include,/usr/local/cuda/include)
	$(Q)$(if $(EMULATED),$<,echo "left out: the sanitizer does not follow the threads of an emulated device")

## check-emulated: every test that a CUDA device can run, on the emulated one; each is a step of `make check`
.PHONY: check-emulated
check-emulated:
	@MAKE="$(MAKE)" sh test/run.sh check-emulator check-cuda_kernels $(EMULATED_STEPS)

check-cuda_kernels: $(EMULATED)
check-cuda_kernels: export RELORA_TEST_MODULE_DIR ?= $(CURDIR)/$(B)/emulated

# examples/pretrain on it.
PRETRAIN_EMULATED := $(PRETRAIN_CU:%.cu=$(B)/emulated/%.o)
EMULATED_LINK      = -L$(B)/emulated -lemulated_cuda -Wl,-rpath,'$$ORIGIN' -lstdc++
-include $(PRETRAIN_EMULATED:.o=.d)

$(B)/emulated/pretrain: $(PRETRAIN) $(PRETRAIN_EMULATED) $(B)/librelora.a | $(B)/emulated/librelora_cuda.so
	@echo LD $@
	$(Q)$(LINK_PROGRAM) $(EMULATED_LINK)
$(B)/emulated/test-pretrain: $(PRETRAIN_TEST) $(PRETRAIN_EMULATED) | $(B)/emulated/librelora_cuda.so
	@echo LD $@
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(ALL_LDFLAGS) $(LDLIBS) $(EMULATED_LINK) $(CHECK_LIBS) -o $@

## check-emulated-pretrain: the model of examples/pretrain on the emulated device, beside the CPU's
check-emulated-pretrain: $(if $(EMULATED),$(B)/emulated/test-pretrain)
	$(Q)$(if $<,RELORA_TEST_MODULE_DIR=$(CURDIR)/$(B)/emulated $<,echo "left out: the sanitizer does not follow the emulator")
## check-emulated-resume: runs of examples/pretrain on that device, stopped and resumed
check-emulated-resume: $(if $(EMULATED),$(B)/emulated/pretrain)
	$(Q)$(if $<,SHORT=1 bash test/resume.sh $< --device cuda,echo "left out: the sanitizer does not follow the emulator")

# ---- CUDA: tests and benchmarks on a device ----
# The suites that a device runs as the CPU does, and test/cuda, which uses CUDA itself; so does the example. Each
# step says how many tests it has skipped: all of them where there is no device.
CUDA_HOME   ?= $(patsubst %/bin/nvcc,%,$(shell readlink -f $(firstword $(NVCC) /usr/local/cuda/bin/nvcc)))
CUDA_LIBS   := -L$(CUDA_HOME)/lib64 -L$(CUDA_HOME)/lib -lcudart_static -ldl -lrt -lpthread
CUDA_SUITES := arguments conformance golden train
CUDA_STEPS  := $(CUDA_SUITES:%=check-cuda-%) $(if $(MODULE),check-cuda-kernels check-cuda-device check-cuda-example \
               check-cuda-pretrain check-cuda-resume check-cuda-sanitizer)
CUDA_ENV     = RELORA_TEST_DEVICE=cuda RELORA_TEST_MODULE_DIR=$(CURDIR)/$(B)
EXTRA_cuda  := test/train/toy.o # the same curve is to come out
CUDA_OBJECTS = $(patsubst %.c,$(1)/%.o,$(wildcard test/cuda/*.c)) $(EXTRA_cuda:%=$(B)/%) \
               $(patsubst %.c,$(B)/%.o,$(wildcard test/support/*.c)) $(OBJS)

$(B)/test/cuda/%.o: TEST_CFLAGS += -isystem $(CUDA_HOME)/include
$(B)/examples/cuda_stream.o: EXAMPLE_CFLAGS += -isystem $(CUDA_HOME)/include

$(B)/test-cuda: $(call CUDA_OBJECTS,$(B))
	@echo LD $@
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(ALL_LDFLAGS) $(LDLIBS) $(CUDA_LIBS) $(CHECK_LIBS) -o $@

$(B)/cuda_stream: $(B)/examples/cuda_stream.o $(B)/librelora.a
	@echo LD $@
	$(Q)$(LINK_PROGRAM) $(CUDA_LIBS)

.PHONY: check-cuda check-cuda-kernels check-cuda-device check-cuda-example check-cuda-sanitizer $(CUDA_SUITES:%=check-cuda-%)
## check-cuda: every test that a CUDA device can run, on the device; without one it counts them
check-cuda: $(MODULE)
	@MAKE="$(MAKE)" sh test/run.sh $(CUDA_STEPS)

$(CUDA_SUITES:%=check-cuda-%): check-cuda-%: $(B)/test-% $(MODULE)
	$(Q)$(CUDA_ENV) timeout 120 $<

check-cuda-kernels: $(B)/test-cuda_kernels $(MODULE)
	$(Q)$(CUDA_ENV) timeout 120 $<

check-cuda-device: $(B)/test-cuda $(MODULE)
	$(Q)$(CUDA_ENV) timeout 120 $<

check-cuda-example: $(B)/cuda_stream $(MODULE)
	$(Q)$< > $<.log 2>&1; s=$$?; tail -n 1 $<.log; [ $$s = 77 ] && echo "Skipped: 1, no device" || exit $$s

# The same on the emulated device.
EMULATED_ENV   = RELORA_TEST_DEVICE=cuda RELORA_TEST_MODULE_DIR=$(CURDIR)/$(B)/emulated
EMULATED_LIBS := -L$(B)/emulated -lemulated_cuda -Wl,-rpath,'$$ORIGIN'
EMULATED_STEPS := $(if $(EMULATED),$(CUDA_SUITES:%=check-emulated-%) check-emulated-device check-emulated-example \
                  check-emulated-pretrain check-emulated-resume)

$(B)/emulated/%.o: %.c | $(FIRST)
	@mkdir -p $(@D)
	@echo CC $<
	$(Q)$(CC) -I$(EMULATOR) $(TEST_CPPFLAGS) $(ALL_CFLAGS) $(TEST_CFLAGS) $(CHECK_CFLAGS) -MMD -MP -c $< -o $@

$(B)/emulated/test-cuda: $(call CUDA_OBJECTS,$(B)/emulated) $(EMULATED)
	@echo LD $@
	$(Q)$(CC) $(ALL_CFLAGS) $(filter %.o,$^) $(ALL_LDFLAGS) $(LDLIBS) $(EMULATED_LIBS) $(CHECK_LIBS) -o $@

$(B)/emulated/cuda_stream: $(B)/emulated/examples/cuda_stream.o $(B)/librelora.a $(EMULATED)
	@echo LD $@
	$(Q)$(LINK_PROGRAM) $(EMULATED_LIBS)

.PHONY: $(CUDA_SUITES:%=check-emulated-%) check-emulated-device check-emulated-example
$(CUDA_SUITES:%=check-emulated-%): check-emulated-%: $(B)/test-% $(EMULATED)
	$(Q)$(EMULATED_ENV) $<

check-emulated-device: $(B)/emulated/test-cuda
	$(Q)$(EMULATED_ENV) $<

check-emulated-example: $(B)/emulated/cuda_stream
	$(Q)$< > $<.log

# The tests with the tag "sanitize", which use every kernel.
CUDA_SANITIZER ?= $(if $(shell command -v compute-sanitizer),1,0)
check-cuda-sanitizer: $(if $(filter 1,$(CUDA_SANITIZER)),$(B)/test-cuda $(MODULE))
	$(Q)$(CUDA_ENV) SANITIZER='$(if $(filter 1,$(CUDA_SANITIZER)),compute-sanitizer)' sh test/cuda/sanitizer.sh $(B)/test-cuda

# Benchmarks: programs of examples/bench/cuda with what of examples/bench they share, and with the CUDA runtime.
.PHONY: bench-cuda check-bench-cuda
BENCH_CUDA   := $(patsubst %.c,%.o,$(sort $(wildcard examples/bench/cuda/*.c)))
BENCH_SHARED := $(patsubst %,examples/bench/%.o,operations rows support works)

$(BENCH_CUDA:%=$(B)/%): EXAMPLE_CFLAGS += -isystem $(CUDA_HOME)/include
$(B)/bench-cuda: $(addprefix $(B)/,$(BENCH_CUDA) $(BENCH_SHARED)) $(B)/librelora.a
	@echo LD $@
	$(Q)$(LINK_PROGRAM) $(CUDA_LIBS)

## bench-cuda: measure the library on a GPU, write bench-cuda.json, within four minutes; with PyTorch if PYTHON has it
bench-cuda: $(if $(MODULE),$(B)/bench-cuda $(SO) $(MODULE) $(if $(PRETRAIN),$(B)/pretrain)) | $(FIRST)
	$(Q)$(if $(MODULE),,echo "bench-cuda: needs CUDA=1 and nvcc"; exit 1;) start=$$(date +%s); \
	$(B)/bench-cuda --budget 95 --json bench-cuda.json $(if $(PRETRAIN),--pretrain $(B)/pretrain) $(BENCH_CUDA_ARGS); status=$$?; \
	if $(PYTHON) -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2> /dev/null; \
	  then $(PYTHON) test/bench/torch_cuda.py . $(SO) bench-cuda.json bench-torch-cuda.json \
	         --budget $$((225 + start - $$(date +%s))) $(TORCH_CUDA_ARGS) || status=$$?; \
	  else echo "bench-cuda: $(PYTHON) has no torch with a device; PYTHON=... names one that has"; fi; exit $$status

# The same on the emulated device, to see that they run.
$(B)/emulated/bench-cuda: $(BENCH_CUDA:%=$(B)/emulated/%) $(BENCH_SHARED:%=$(B)/%) $(B)/librelora.a $(EMULATED)
	@echo LD $@
	$(Q)$(LINK_PROGRAM) $(EMULATED_LIBS)

## check-bench-cuda: every benchmark for a GPU, tiny, on the emulated one
check-bench-cuda: $(B)/emulated/bench-cuda
	$(Q)$< --smoke --budget 600 --json $(B)/emulated/bench-cuda.json $(BENCH_CUDA_ARGS) > $(B)/emulated/bench-cuda.log || { cat $(B)/emulated/bench-cuda.log; exit 1; }
	$(Q)$(PYTHON) -c 'import json, sys; rows = json.load(open(sys.argv[1]))["rows"]; \
	  sys.exit(any(r["value"] is None for r in rows) or len(rows) < 30)' $(B)/emulated/bench-cuda.json
-include $(BENCH_CUDA:%.o=$(B)/%.d) $(BENCH_CUDA:%.o=$(B)/emulated/%.d)

# ---- tests: each folder of test/ with a main.c is one Check program, linked with the objects ----
TEST_CFLAGS   = -Wno-double-promotion # which the macros of Check do
# Where there is no pkg-config, what Debian's says.
CHECK_CFLAGS  = $$($(PKG_CONFIG) --cflags check jansson 2> /dev/null)
CHECK_LIBS    = $$($(PKG_CONFIG) --libs check jansson 2> /dev/null || echo -pthread -lcheck_pic -lrt -lm -lsubunit -ljansson)
TEST_CPPFLAGS = -Itest -DRELORA_TEST_DATA='"$(CURDIR)/test"' \
                -DRELORA_TEST_MODULES='"$(CURDIR)/$(B)/modules"' $(LIB_CPPFLAGS)

# Modules that are none, each in a folder of its own, and one that passes the CPU off as CUDA.
MODULES := $(patsubst test/modules/%.c,$(B)/modules/%/librelora_cuda.so,$(wildcard test/modules/*.c)) \
           $(B)/modules/text/librelora_cuda.so
$(filter-out %/text/librelora_cuda.so,$(MODULES)): $(B)/modules/%/librelora_cuda.so: test/modules/%.c \
    test/modules/fake.h $(wildcard src/*.h) $(filter $(B)/src/cpu/% %/memory.o,$(OBJS))
	@mkdir -p $(@D)
	@echo LD $@
	$(Q)$(CC) -Itest $(LIB_CPPFLAGS) $(LIB_CFLAGS) -shared $(filter %.c %.o,$^) $(ALL_LDFLAGS) $(LDLIBS) -o $@
$(B)/modules/text/librelora_cuda.so:
	@mkdir -p $(@D)
	$(Q)printf '%64s\n' 'This is as long as the header of a library, and none.' > $@

$(B)/test/%.o: test/%.c | $(FIRST)
	@mkdir -p $(@D)
	@echo CC $<
	$(Q)$(CC) $(TEST_CPPFLAGS) $(ALL_CFLAGS) $(TEST_CFLAGS) $(CHECK_CFLAGS) \
	  -MMD -MP -c $< -o $@

# Programs that ask for a CUDA device, with both kinds of library, for check-module.
$(B)/ask: $(B)/test/modules/where/ask.o $(B)/librelora.a
	@echo LD $@
	$(Q)$(LINK_PROGRAM)
$(B)/ask-shared: $(B)/test/modules/where/ask.o $(SO)
	@echo LD $@
	$(Q)$(CC) $(ALL_CFLAGS) $< $(ALL_LDFLAGS) -L$(B) -lrelora -Wl,-rpath,'$$ORIGIN/../lib' -o $@

## check-module: where librelora_cuda.so is looked for
.PHONY: check-module
check-module: $(B)/ask $(B)/ask-shared $(MODULES)
	$(Q)sh test/modules/where.sh $(B)

## check-unload: a host that loads the library, uses it with threads, and unloads it
.PHONY: check-unload
$(B)/unload: $(B)/test/unload/unload.o
	@echo LD $@
	$(Q)$(CC) $(ALL_CFLAGS) $< $(ALL_LDFLAGS) -ldl -lpthread -o $@
check-unload: $(B)/unload $(SO)
	$(Q)$(if $(filter asan tsan,$(CONFIG)),echo "left out: the sanitizer has to be loaded first",$< $(SO))

EXTRA_train := $(filter-out %/main.o,$(PRETRAIN)) # this suite tests the example's model too
EXTRA_backend := $(addprefix $(B)/test/checkpoint/,folder.o made.o raw.o run.o)
EXTRA_threads := $(B)/test/checkpoint/folder.o
EXTRA_oom := $(patsubst %,$(B)/test/checkpoint/%.o,folder made raw run) # this one saves and resumes
define SUITE
$(B)/test-$(1): $(patsubst %.c,$(B)/%.o,$(wildcard test/$(1)/*.c test/support/*.c)) \
                $(EXTRA_$(1)) $(OBJS) | $(MODULES)
	@echo LD $$@
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$^ $$(ALL_LDFLAGS) $$(LDLIBS) \
	  $$(CHECK_LIBS) -o $$@
.PHONY: check-$(1)
check-$(1): $(B)/test-$(1)
	$$(Q)$$(WRAPPER) $$<
endef
$(foreach s,$(SUITES),$(eval $(call SUITE,$(s))))

# ---- fuzzing: test/fuzz/NAME.c is a target; its corpus is replayed by `make check` ----
FUZZ_TIME ?= 60
FUZZ_CC   ?= clang
FUZZERS   := api safetensors tokens
FUZZ_LIB  := $(filter-out src/cpu/cpu_gemm_onednn.c,$(SRCS)) # a replay takes $(OBJS) in its place
FUZZ_SRCS_api         := $(sort $(wildcard test/fuzz/api_*.c)) $(FUZZ_LIB)
FUZZ_SRCS_safetensors := $(FUZZ_LIB)
FUZZ_SRCS_tokens      := examples/pretrain/data.c
define FUZZ
build/fuzz-$(1): test/fuzz/$(1).c $(wildcard test/fuzz/*.h) $(FUZZ_SRCS_$(1)) $(wildcard src/*.h src/cpu/*.h) $(HEADERS)
	@mkdir -p $$(@D)
	@echo LD $$@
	$$(Q)$$(FUZZ_CC) -std=c11 -Isrc -Iinclude -Itest -D_POSIX_C_SOURCE=200809L -DRELORA_ONEDNN=0 -DRELORA_LIBFUZZER \
	  -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	  -ffp-contract=off $$(filter %.c,$$^) -ljansson -lm -o $$@
.PHONY: fuzz-$(1)
fuzz-$(1): build/fuzz-$(1)
	$$(Q)mkdir -p build/corpus/$(1)
	$$(Q)$$< -max_total_time=$$(FUZZ_TIME) -max_len=4096 -rss_limit_mb=1024 -print_final_stats=1 \
	  $(if $(wildcard test/fuzz/$(1).dict),-dict=test/fuzz/$(1).dict) build/corpus/$(1) test/fuzz/corpus/$(1)
$(B)/replay-$(1): $(B)/test/fuzz/$(1).o $(B)/test/fuzz/standalone.o \
                  $(patsubst %.c,$(B)/%.o,$(filter-out $(FUZZ_LIB),$(FUZZ_SRCS_$(1)))) \
                  $(if $(filter $(FUZZ_LIB),$(FUZZ_SRCS_$(1))),$(OBJS))
	@echo LD $$@
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$^ $$(ALL_LDFLAGS) $$(LDLIBS) -o $$@
endef
$(foreach f,$(FUZZERS),$(eval $(call FUZZ,$(f))))

## check-fuzz: every input that fuzzing has found worth keeping, once more
check-fuzz: $(FUZZERS:%=$(B)/replay-%)
	$(Q)for f in $(FUZZERS); do $(B)/replay-$$f test/fuzz/corpus/$$f || exit 1; done

## fuzz-NAME: fuzz for FUZZ_TIME seconds, NAME one of api, safetensors and tokens; new inputs go to build/corpus

# ---- the interface (docs/abi.md). The headers are the same in every configuration: two are enough to check them ----
PYTHON ?= python3
.PHONY: check-ffi check-python abi-check abi-store abi-pins check-breaks check-callers
ABI_STEPS := $(if $(filter release debug,$(CONFIG)),check-ffi check-python abi-check check-breaks) check-callers

build/abi/librelora.so: $(HEADERS) lib/librelora.map test/headers.py test/abi/abi.sh | $(FIRST)
	@mkdir -p $(@D)
	$(Q)sh test/abi/abi.sh stubs include lib/librelora.map $@

## abi-check: compare the binary interface of the headers with lib/librelora.abi, and every number with pins.c
abi-check: build/abi/librelora.so
	$(Q)sh test/abi/abi.sh check include $< lib/librelora.abi
	$(Q)$(CC) -std=c11 -Wall -Wextra -pedantic -Werror -Iinclude -fsyntax-only test/abi/pins.c
	$(Q)$(PYTHON) test/headers.py pins include test/abi/pins.c \
	  || { echo "test/abi/pins.c lacks these lines: run 'make abi-pins'"; exit 1; }

## abi-store: put the interface of the headers on record in lib/librelora.abi; to be committed with the change
abi-store: build/abi/librelora.so
	$(Q)sh test/abi/abi.sh store include $< lib/librelora.abi

## abi-pins: append to test/abi/pins.c what it lacks
abi-pins:
	$(Q)$(PYTHON) test/headers.py pins include test/abi/pins.c > test/abi/pins.new; \
	  cat test/abi/pins.new; cat test/abi/pins.new >> test/abi/pins.c; $(RM) test/abi/pins.new

## check-breaks: break the binary interface in every way, and see abi-check report it
check-breaks: | $(FIRST)
	$(Q)sh test/abi/breaks.sh

## check-callers: programs compiled with the headers of earlier releases, run with this library
check-callers: $(SO)
	$(Q)sh test/abi/callers.sh $(SO) $(CC) $(WARN) $(CFLAGS_$(CONFIG)) $(CFLAGS) $(LDFLAGS)

## check-ffi: the headers as other languages need them, each function documented; then each rule broken
check-ffi: | $(FIRST)
	$(Q)$(PYTHON) test/headers.py check include lib/librelora.map
	$(Q)$(PYTHON) test/ffi/rules.py .

## check-python: train a layer from Python; exchange tensors with what is installed there
check-python: $(SO) | $(FIRST)
	$(Q)$(PYTHON) test/ffi/train.py . $(SO)
	$(Q)$(PYTHON) test/ffi/exchange.py . $(SO)
	$(Q)$(PYTHON) test/ffi/fork.py . $(SO)

# ---- the system's memory: a program with a malloc() of its own, in front of every library in the process ----
$(B)/starve: $(patsubst %.c,$(B)/%.o,$(wildcard test/system_memory/*.c)) $(B)/test/support/random.o $(SO)
	@echo LD $@
	$(Q)$(CC) $(ALL_CFLAGS) $(filter %.o,$^) $(ALL_LDFLAGS) -L$(B) -lrelora -Wl,-rpath,$(CURDIR)/$(B) -lm -ldl -o $@

## check-system-memory: refuse memory to jansson, OpenMP and oneDNN; STARVE=all: every request of theirs, not a sample
check-system-memory: $(if $(filter asan tsan,$(CONFIG)),,$(B)/starve)
	$(Q)$(if $(filter asan tsan,$(CONFIG)),echo "left out: the sanitizer has a malloc() of its own",$< $(STARVE))

# A library with a sanitizer runs only in programs built with it, so it is not worth installing.
# The many runs of check-resume and check-crash have one thread each: nothing for the thread sanitizer, in an hour.
STEPS := check-headers symbols $(ABI_STEPS) $(SUITES:%=check-%) check-module check-unload check-system-memory check-fuzz check-examples \
         $(if $(PRETRAIN),check-pretrain $(if $(filter tsan,$(CONFIG)),,check-resume check-crash)) \
         $(if $(filter release debug,$(CONFIG)),check-install) \
         $(if $(MODULE),check-cuda-module) $(CUDA_STEPS) check-emulator $(EMULATED_STEPS)

## check: every test, to the end even if one fails; the last line counts them
check: $(BUILT) | $(FIRST)
	@MAKE="$(MAKE)" sh test/run.sh $(STEPS)

## check-headers: each public header alone, as strict C99 and as C++11
check-headers: | $(FIRST)
	$(Q)for h in $(HEADERS:include/%=%); do \
	  for m in "$(CC) -x c -std=c99" "$(CXX) -x c++ -std=c++11"; do \
	  printf '#include <%s>\nint x;\n' $$h | $$m -pedantic-errors -Wall -Wextra -Wpadded -Werror -Iinclude -fsyntax-only - \
	  || exit 1; done; done

## symbols: what the library exports is what the headers declare
symbols: $(BUILT)
	$(Q)sed -n 's/^RELORA_API .*[ *]\(relora_[a-z0-9_]*\)(.*/\1/p' $(HEADERS) \
	  | LC_ALL=C sort > $(B)/declared
	$(Q)$(NM) -D --defined-only $(SO) \
	  | sed -n 's/.* [BDRTVW] \([^@]*\).*/\1/p' | LC_ALL=C sort > $(B)/exported
	$(Q)$(NM) -g --defined-only $(B)/librelora.a \
	  | sed -n 's/.* [BDRTVW] //p' | LC_ALL=C sort > $(B)/archived
	$(Q)test -s $(B)/declared
	$(Q)diff $(B)/declared $(B)/exported
	$(Q)diff $(B)/declared $(B)/archived

## check-install: install into a new folder, build the examples from it by pkg-config, uninstall
check-install: $(BUILT) | $(FIRST)
	$(Q)MAKE="$(MAKE)" CC="$(CC)" CXX="$(CXX)" PKG_CONFIG="$(PKG_CONFIG)" sh test/install.sh

## check-examples: run the small programs of examples/
check-examples: $(EXAMPLES)
	$(Q)for e in $(EXAMPLES); do echo $$e && $$e > $$e.log || exit 1; done

## check-pretrain: eight steps of the program of examples/pretrain, with two restarts
check-pretrain: $(B)/pretrain
	$(Q)cat $(HEADERS) > $(B)/text
	$(Q)$(B)/pretrain --data $(B)/text --out $(B)/out --steps 8 --warm-start 2 --restarts 2 --seq 32 \
	  --batch 2 --accumulate 1 --eval-batches 1 --sample 20 > $(B)/pretrain.log 2>&1 \
	  || { cat $(B)/pretrain.log; exit 1; }
	$(Q)grep 'restarts=2' $(B)/out/summary.txt

## check-crash: kill the program of examples/pretrain CRASHES times while it trains and saves, and resume it
CRASHES ?= 10
check-crash: $(B)/pretrain
	$(Q)bash test/crash.sh $(B)/pretrain $(CRASHES)

## check-resume: go on from checkpoints of every method and type, and ask for the same bits
check-resume: $(B)/pretrain
	$(Q)bash test/resume.sh $(B)/pretrain

## check-transformers: export small models and compare their logits with Hugging Face transformers, if PYTHON has it
$(B)/logits: $(B)/test/transformers/logits.o $(filter-out %/main.o,$(PRETRAIN)) $(B)/librelora.a
	@echo LD $@
	$(Q)$(LINK_PROGRAM)
check-transformers: $(B)/pretrain $(B)/logits
	$(Q)for d in f32 bf16; do $(B)/pretrain --data README.md --dtype $$d --steps 24 --warm-start 4 --restarts 1 \
	  --seq 96 --batch 4 --sample 0 --out $(B)/out --export $(B)/exported-$$d > $(B)/output || exit 1; done
	$(Q)$(PYTHON) test/transformers/compare.py $(B)/logits $(B)/exported-f32 $(B)/exported-bf16

# ---- checkers: they need deps-dev ----
## check-long: check; the same with the portable product alone, and under the sanitizers; check-valgrind
check-long: | $(FIRST)
	@MAKE="$(MAKE)" sh test/long.sh

## check-valgrind: the quick tests under valgrind, in one process each
WRAPPER ?=
MEMCHECK := valgrind -q --error-exitcode=9 --leak-check=full --suppressions=test/lint/valgrind.supp
MEMCHECK_SUITES := arguments golden threads unit
check-valgrind: | $(FIRST)
	@WRAPPER="$(MEMCHECK)" CK_FORK=no MAKE="$(MAKE)" sh test/run.sh $(MEMCHECK_SUITES:%=check-%)

## coverage: lines and branches of src/ that the tests execute, and the lines they do not
coverage: | $(FIRST)
	$(Q)[ ! -d build/cov ] || find build/cov -name '*.gcda' -delete
	@MAKE="$(MAKE) CONFIG=cov" sh test/run.sh $(SUITES:%=check-%) check-fuzz
	@sh test/coverage.sh build/cov

## everything: build the library, its tests and all programs, and run none
everything: $(BUILT) $(EXAMPLES) $(B)/pretrain $(B)/bench $(SUITES:%=$(B)/test-%) $(FUZZERS:%=$(B)/replay-%)

LINT := lint-includes lint-calls lint-size lint-cppcheck lint-tidy
.PHONY: lint lint-compilers $(LINT) everything check-valgrind coverage
## lint: warnings of gcc and clang, clang-tidy, cppcheck, include rule, banned calls, what is over its budget
lint: $(OBJS)
	@MAKE="$(MAKE)" sh test/run.sh lint-compilers $(LINT)
lint-compilers:
	$(Q)$(MAKE) --no-print-directory everything CC=gcc
	$(Q)$(MAKE) --no-print-directory everything CC=clang
$(LINT): $(OBJS)
	$(Q)FLAGS='-Itest -I$(EMULATOR) -DRELORA_TEST_DATA=__FILE__ -DRELORA_TEST_MODULES=__FILE__ $(LIB_CPPFLAGS)' NM=$(NM) sh test/lint/lint.sh $(@:lint-%=%) $(OBJS)

## check-SUITE: one folder of test/, such as check-unit

# ---- the rest ----
## deps: install the Debian packages that building, testing and the demonstration need; deps-dev: those of checkers
deps deps-dev: WANTED = $(if $(filter deps-dev,$@),$(DEV_DEPS),$(DEPS))
deps deps-dev: | $(if $(filter deps-dev,$@),$(filter deps,$(FIRST)))
	@missing=$$(for p in $(WANTED); do \
	  dpkg-query -W -f='$${Status}' $$p 2>&1 | grep -q 'ok installed' || echo $$p; done); \
	if [ -z "$$missing" ]; then echo "deps: nothing is missing"; exit 0; fi; \
	if ! command -v apt-get > /dev/null; then \
	  echo "deps: no apt-get here; please install what your system calls:" $(WANTED); exit 1; fi; \
	sudo=; [ $$(id -u) = 0 ] || sudo=sudo; \
	echo "deps: installing" $$missing; \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install -y \
	  --no-install-recommends $$missing > /dev/null

## install: libraries, headers and relora.pc under $(DESTDIR)$(prefix)
install: $(BUILT) $(B)/relora.pc
	$(Q)$(INSTALL) -d $(DESTDIR)$(libdir)/pkgconfig $(DESTDIR)$(includedir)/relora
	$(Q)$(INSTALL) -m 755 $(SO) $(DESTDIR)$(libdir)
	$(Q)ln -sf librelora.so.$(VERSION) $(DESTDIR)$(libdir)/librelora.so.$(ABI)
	$(Q)ln -sf librelora.so.$(ABI) $(DESTDIR)$(libdir)/librelora.so
	$(if $(MODULE),$(Q)$(INSTALL) -m 755 $(MODULE) $(DESTDIR)$(libdir))
	$(Q)$(INSTALL) -m 644 $(B)/librelora.a $(DESTDIR)$(libdir)
	$(Q)$(INSTALL) -m 644 $(HEADERS) $(DESTDIR)$(includedir)/relora
	$(Q)$(INSTALL) -m 644 $(B)/relora.pc $(DESTDIR)$(libdir)/pkgconfig

## uninstall: remove what install put there
uninstall:
	$(Q)$(RM) $(HEADERS:include/%=$(DESTDIR)$(includedir)/%) $(DESTDIR)$(libdir)/pkgconfig/relora.pc
	$(Q)$(RM) $(addprefix $(DESTDIR)$(libdir)/librelora,.a .so .so.$(ABI) .so.$(VERSION) _cuda.so)
	$(Q)[ ! -d $(DESTDIR)$(includedir)/relora ] \
	  || rmdir --ignore-fail-on-non-empty $(DESTDIR)$(includedir)/relora

## clean: remove build/ and what make put into lib/
clean:
	$(Q)$(RM) -r build lib/librelora.so* lib/librelora.a lib/librelora_cuda.so

## help: this list
help:
	@sed -n 's/^## //p' Makefile | sort | awk -F': ' '{printf "  %-15s %s\n", $$1, $$2}'
