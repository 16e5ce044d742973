# The CUDA sources on an emulated device, for machines that have none.
EMULATOR       := test/cuda/emulator
EMULATOR_OBJS  := $(patsubst %.cpp,$(B)/%.o,$(sort $(wildcard $(EMULATOR)/*.cpp)))
EMULATED_OBJS  := $(patsubst %.cu,$(B)/emulated/%.o,$(sort $(wildcard cuda/*.cu)))
EMULATED_FLAGS  = -std=c++17 -O1 -g -ffp-contract=off -fPIC -Wall -Wextra $(if $(filter 1,$(WERROR)),-Werror) \
                  -I$(EMULATOR) -Isrc -Iinclude $(CXXFLAGS)
# The address and thread sanitizers do not follow threads of a device from stack to stack; coverage is of src/.
ifeq ($(filter asan tsan cov,$(CONFIG)),)
  EMULATED       := $(B)/emulated/librelora_cuda.so.$(ABI)
  EMULATED_STEPS := $(CUDA_SUITES:%=check-emulated-%) check-emulated-device check-emulated-example \
                    check-emulated-pretrain check-emulated-resume check-emulated-required check-gpu-day
endif

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
	@mkdir -p $(@D)
	@echo LD $@
	$(Q)$(CXX) -shared -Wl,-soname,$(@F),-z,defs $^ -ldl -o $@

# The module as it is, but for the emulator in the place of CUDA.
$(B)/emulated/librelora_cuda.so.$(ABI): $(EMULATED_OBJS) $(B)/src/memory.o $(B)/emulated/libemulated_cuda.so lib/librelora_cuda.map
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

# examples/pretrain on it.
PRETRAIN_EMULATED := $(PRETRAIN_CU:%.cu=$(B)/emulated/%.o)
EMULATED_LINK      = -L$(B)/emulated -lemulated_cuda -Wl,-rpath,'$$ORIGIN' -lstdc++
-include $(PRETRAIN_EMULATED:.o=.d)

$(B)/emulated/pretrain: $(PRETRAIN) $(PRETRAIN_MPI) $(PRETRAIN_EMULATED) $(B)/librelora.a | $(B)/emulated/librelora_cuda.so.$(ABI)
	@echo LD $@
	$(Q)$(LINK_PROGRAM) $(EMULATED_LINK) $(MPI_LIBS)
$(B)/emulated/test-pretrain: $(PRETRAIN_TEST) $(PRETRAIN_EMULATED) | $(B)/emulated/librelora_cuda.so.$(ABI)
	@echo LD $@
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(ALL_LDFLAGS) $(LDLIBS) $(EMULATED_LINK) $(CHECK_LIBS) -o $@

# ---- what a device tests, on the emulated one ----
EMULATED_ENV   = RELORA_TEST_DEVICE=cuda RELORA_TEST_MODULE_DIR=$(CURDIR)/$(B)/emulated
EMULATED_LIBS := -L$(B)/emulated -lemulated_cuda -Wl,-rpath,'$$ORIGIN'

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

# The same on the emulated device, to see that they run.
$(B)/emulated/bench-cuda: $(BENCH_CUDA:%=$(B)/emulated/%) $(BENCH_SHARED:%=$(B)/%) $(B)/librelora.a $(EMULATED)
	@echo LD $@
	$(Q)$(LINK_PROGRAM) $(EMULATED_LIBS)

## check-bench-cuda: every benchmark for a GPU, tiny, on the emulated one
check-bench-cuda: $(B)/emulated/bench-cuda
	$(Q)$< --smoke --budget 600 --json $(B)/emulated/bench-cuda.json $(BENCH_CUDA_ARGS) > $(B)/emulated/bench-cuda.log || { cat $(B)/emulated/bench-cuda.log; exit 1; }
	$(Q)$(PYTHON) -c 'import json, sys; rows = json.load(open(sys.argv[1]))["rows"]; \
	  sys.exit(any(r["value"] is None for r in rows) or len(rows) < 30)' $(B)/emulated/bench-cuda.json
-include $(BENCH_CUDA:%.o=$(B)/emulated/%.d)

# ---- the steps ----
.PHONY: check-emulator check-emulated check-emulated-device check-emulated-example check-emulated-pretrain \
        check-emulated-resume check-emulated-required $(CUDA_SUITES:%=check-emulated-%)
check-cuda_kernels: $(EMULATED)
check-cuda_kernels: export RELORA_TEST_MODULE_DIR ?= $(CURDIR)/$(B)/emulated

ifeq ($(EMULATED),)
check-emulator check-emulated:
	@echo "left out: nothing is emulated with CONFIG=$(CONFIG)"
else
## check-emulator: the tests of test/cuda/emulator itself, which runs CUDA's sources on the CPU
check-emulator: $(B)/emulated/test-emulator
	$(Q)sh $(EMULATOR)/values.sh $(CUDA_HOME)/include
	$(Q)$<

## check-emulated: every test that a CUDA device can run, on the emulated one; each is a step of `make check`
check-emulated:
	@MAKE="$(MAKE)" sh test/run.sh check-emulator check-cuda_kernels $(EMULATED_STEPS)

$(CUDA_SUITES:%=check-emulated-%): check-emulated-%: $(B)/test-% $(EMULATED)
	$(Q)$(EMULATED_ENV) $<

check-emulated-device: $(B)/emulated/test-cuda
	$(Q)$(EMULATED_ENV) EMULATED_CUDA_DEVICES=2 $<

check-emulated-example: $(B)/emulated/cuda_stream
	$(Q)$< > $<.log

## check-emulated-required: test programs of a device that is missing fail if RELORA_REQUIRE_DEVICE is set
check-emulated-required: $(B)/test-conformance $(B)/test-cuda_kernels $(B)/emulated/test-cuda $(B)/emulated/test-pretrain
	$(Q)sh test/cuda_module/required.sh $^

## check-emulated-pretrain: the model of examples/pretrain on the emulated device, beside the CPU's
check-emulated-pretrain: $(B)/emulated/test-pretrain
	$(Q)RELORA_TEST_MODULE_DIR=$(CURDIR)/$(B)/emulated $<

## check-emulated-resume: runs of examples/pretrain on that device, stopped and resumed
check-emulated-resume: $(B)/emulated/pretrain
	$(Q)SHORT=1 bash test/resume.sh $< --device cuda
	$(Q)$(PYTHON) test/init.py $< --cuda
endif
