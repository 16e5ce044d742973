# Tests and benchmarks on a CUDA device.
# The suites that a device runs as the CPU does, and test/cuda, which uses CUDA itself; so does the example. Each
# step says how many tests it has skipped: all of them where there is no device.
CUDA_LIBS   := -L$(CUDA_HOME)/lib64 -L$(CUDA_HOME)/lib -lcudart_static -ldl -lrt -lpthread
CUDA_SUITES := arguments conformance golden train
CUDA_STEPS  := $(CUDA_SUITES:%=check-cuda-%)
ifeq ($(CUDA),1)
  CUDA_STEPS += check-cuda-kernels check-cuda-device check-cuda-example check-cuda-pretrain check-cuda-resume check-cuda-sanitizer
endif
# On a machine that has a GPU it is a failure that no test finds it.
REQUIRE_DEVICE ?= $(if $(wildcard /dev/nvidia0),1)
CUDA_ENV     = RELORA_TEST_DEVICE=cuda RELORA_TEST_MODULE_DIR=$(CURDIR)/$(B) $(REQUIRE_DEVICE:%=RELORA_REQUIRE_DEVICE=%)
NO_DEVICE    = $(if $(REQUIRE_DEVICE),echo "$@: no device"; exit 1,echo "Skipped: 1$(,) no device for $@"; exit 0)
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
	$(Q)timeout 60 $< > $<.log 2>&1; s=$$?; tail -n 1 $<.log; [ $$s != 77 ] || { $(NO_DEVICE); }; exit $$s

## gpu-day: all that a GPU machine can tell, in nine minutes, into OUT (gpu-day/); gpu-pack: fetch what it lacks, before
.PHONY: gpu-day gpu-pack check-gpu-day
OUT ?= gpu-day
gpu-day:
	$(Q)MAKE="$(MAKE)" bash test/cuda/gpu-day.sh "$(OUT)"
gpu-pack:
	$(Q)sh test/cuda/gpu-pack.sh

## check-gpu-day: that script, with steps that fail, hang and skip
check-gpu-day:
	$(Q)bash test/cuda/gpu-day-check.sh

# The tests with the tag "sanitize", which use every kernel.
CUDA_SANITIZER ?= $(if $(shell command -v compute-sanitizer),1,0)
ifeq ($(CUDA_SANITIZER),1)
  SANITIZER := compute-sanitizer
  check-cuda-sanitizer: $(B)/test-cuda $(MODULE)
endif
check-cuda-sanitizer:
	$(Q)$(CUDA_ENV) SANITIZER='$(SANITIZER)' sh test/cuda/sanitizer.sh $(B)/test-cuda

# Benchmarks: programs of examples/bench/cuda with what of examples/bench they share, and with the CUDA runtime.
.PHONY: bench-cuda check-bench-cuda
BENCH_CUDA   := $(patsubst %.c,%.o,$(sort $(wildcard examples/bench/cuda/*.c)))
BENCH_SHARED := $(patsubst %,examples/bench/%.o,operations rows support works)

$(BENCH_CUDA:%=$(B)/%): EXAMPLE_CFLAGS += -isystem $(CUDA_HOME)/include
$(B)/bench-cuda: $(addprefix $(B)/,$(BENCH_CUDA) $(BENCH_SHARED)) $(B)/librelora.a
	@echo LD $@
	$(Q)$(LINK_PROGRAM) $(CUDA_LIBS)

## bench-cuda: measure the library on a GPU, write bench-cuda.json, within four minutes; with PyTorch if PYTHON has it
ifeq ($(CUDA),1)
bench-cuda: $(B)/bench-cuda $(SO) $(MODULE) $(B)/pretrain | $(FIRST)
	$(Q)start=$$(date +%s); \
	$(B)/bench-cuda --budget 95 --json bench-cuda.json --pretrain $(B)/pretrain $(BENCH_CUDA_ARGS); status=$$?; \
	if $(PYTHON) -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2> /dev/null; \
	  then $(PYTHON) test/bench/torch_cuda.py . $(SO) bench-cuda.json bench-torch-cuda.json \
	         --budget $$((225 + start - $$(date +%s))) $(TORCH_CUDA_ARGS) || status=$$?; \
	  else echo "bench-cuda: $(PYTHON) has no torch with a device; PYTHON=... names one that has"; fi; exit $$status
else
bench-cuda:
	@echo "bench-cuda: needs CUDA=1 and nvcc"; exit 1
endif

-include $(BENCH_CUDA:%.o=$(B)/%.d)

# ---- examples/pretrain on a device ----
# The model on a device beside the CPU's; without a device the tests say that they were skipped.
PRETRAIN_TEST = $(patsubst %.c,$(B)/%.o,$(wildcard test/cuda/pretrain/*.c test/support/*.c)) \
                $(filter-out %/main.o,$(PRETRAIN)) $(OBJS)
$(B)/test-pretrain: $(PRETRAIN_TEST) $(PRETRAIN_CUDA)
	@echo LD $@
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(ALL_LDFLAGS) $(LDLIBS) $(CUDART) $(CHECK_LIBS) -o $@

.PHONY: check-cuda-pretrain check-cuda-resume
check-cuda-pretrain: $(B)/test-pretrain $(MODULE)
	$(Q)$(CUDA_ENV) timeout 120 $<
# SHORT= asks for all methods and types: 64 processes, each of which opens CUDA.
check-cuda-resume: $(B)/pretrain $(B)/cuda_stream $(MODULE)
	$(Q)timeout 60 $(B)/cuda_stream > /dev/null 2>&1; [ $$? != 77 ] || { $(NO_DEVICE); }; \
	  SHORT=$${SHORT-1} timeout $${RESUME_TIME:-120} bash test/resume.sh $< --device cuda && timeout 60 $(PYTHON) test/init.py $< --cuda

## cuda-everything: build what tests and benchmarks on a GPU need, and run none
.PHONY: cuda-everything
cuda-everything: lib $(MODULE) $(SO) $(CUDA_SUITES:%=$(B)/test-%) $(addprefix $(B)/,test-cuda_kernels test-cuda \
                 test-pretrain cuda_stream pretrain bench-cuda)
