# librelora_cuda.so.0, from cuda/ (docs/cuda.md), by default where there is an nvcc; and the device's part of
# examples/pretrain.
NVCC ?= $(firstword $(shell command -v nvcc 2> /dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
CUDA_HOME ?= $(patsubst %/bin/nvcc,%,$(shell readlink -f $(firstword $(NVCC) /usr/local/cuda/bin/nvcc)))
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

# MODULE and PRETRAIN_CUDA, the device's part of examples/pretrain, are empty without CUDA=1.
PRETRAIN_CU := $(sort $(wildcard examples/pretrain/cuda/*.cu))
ifeq ($(CUDA),1)
  MODULE        := $(B)/librelora_cuda.so.$(ABI)
  PRETRAIN_CUDA := $(PRETRAIN_CU:%.cu=$(B)/%.o)
  MODULE_STEPS  := check-cuda-module $(if $(filter release,$(CONFIG)),check-cuda-kernel-table)
endif

# What ptxas says about registers and memory is kept beside the object, for the table in docs/cuda.md.
NVCC_COMPILE = $(NVCC) $(1) -Xptxas -v -MMD -MP -MF $(@:.o=.d) -c $< -o $@ 2> $(@:.o=.usage); s=$$?; \
               grep -Ev '^ptxas info|bytes stack frame,' $(@:.o=.usage) >&2; exit $$s

$(B)/cuda/%.o: cuda/%.cu Makefile cuda/cuda.mk | $(FIRST)
	@mkdir -p $(@D)
	@echo NVCC $<
	$(Q)$(call NVCC_COMPILE,$(CUDA_FLAGS))
-include $(CUDA_OBJS:.o=.d)

# The CUDA runtime is inside and out of sight, so it cannot meet another one in the host; cuBLASLt is loaded
# with the module, which says so where it is missing. Used from here it is also looked for in the toolkit; what
# is installed leaves that to the loader.
$(B)/librelora_cuda.so.$(ABI): CUBLAS_PATH = -Xlinker -rpath,$(CUDA_HOME)/lib64:$(CUDA_HOME)/lib
$(B)/librelora_cuda.so.$(ABI) $(B)/installed/librelora_cuda.so.$(ABI): $(CUDA_OBJS) $(B)/src/memory.o lib/librelora_cuda.map
	@mkdir -p $(@D)
	@echo LD $@
	$(Q)$(NVCC) -shared -Xlinker -soname,$(@F) $(CUDA_CODE) -cudart static -Xcompiler -static-libstdc++,-static-libgcc \
	  $(CUDA_OBJS) $(B)/src/memory.o -o $@ -Xlinker --as-needed,-z,defs,-z,noexecstack $(CUBLAS_PATH) \
	  -Xlinker --exclude-libs,ALL,--no-undefined-version,--version-script=lib/librelora_cuda.map -lcublasLt

lib check install: $(MODULE)

## check-cuda-module: what librelora_cuda.so.0 exports, needs and holds code for, and how it loads here
.PHONY: check-cuda-module
check-cuda-module: $(MODULE) $(B)/installed/librelora_cuda.so.$(ABI) $(B)/load-module
	$(Q)NM=$(NM) NVCC=$(NVCC) sh test/cuda_module/check.sh $(MODULE) $(B)/load-module $(B)/installed/librelora_cuda.so.$(ABI)

## check-cuda-kernel-table: the table of kernels in docs/cuda.md is that of this build; cuda-kernel-table writes it anew
.PHONY: check-cuda-kernel-table cuda-kernel-table
check-cuda-kernel-table: $(CUDA_OBJS) $(PRETRAIN_CUDA)
	$(Q)$(PYTHON) test/cuda_module/kernels.py $(NVCC) $(B) docs/cuda.md
cuda-kernel-table: $(CUDA_OBJS) $(PRETRAIN_CUDA)
	$(Q)$(PYTHON) test/cuda_module/kernels.py $(NVCC) $(B) docs/cuda.md write

$(B)/load-module: $(B)/test/cuda_module/load.o
	@echo LD $@
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(ALL_LDFLAGS) -ldl -o $@

# ---- the device's part of examples/pretrain ----
# Linked with the program where there is an nvcc; elsewhere `--device cuda` says what is missing. Here a * b + c
# may be fused.
ifeq ($(CUDA),1)
  CUDART = -L$(CUDA_HOME)/lib64 -L$(CUDA_HOME)/lib -lcudart_static -lstdc++ -lpthread -ldl -lrt
endif

$(B)/examples/pretrain/cuda/%.o: examples/pretrain/cuda/%.cu Makefile cuda/cuda.mk | $(FIRST)
	@mkdir -p $(@D)
	@echo NVCC $<
	$(Q)$(call NVCC_COMPILE,$(filter-out -fmad=false,$(CUDA_FLAGS)))
-include $(PRETRAIN_CUDA:.o=.d)
$(B)/pretrain: $(PRETRAIN_CUDA)
