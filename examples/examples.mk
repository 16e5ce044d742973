# Examples and benchmarks: programs that see only the public headers and librelora.a.
EXAMPLES := $(patsubst examples/%.c,$(B)/examples/%,$(filter-out %/cuda_stream.c,$(sort $(wildcard examples/*.c))))
PRETRAIN := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard examples/pretrain/*.c)))
BENCH    := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard examples/bench/*.c)))

# The programs of examples/pretrain and examples/bench are made to run here, not to be packaged.
NATIVE := $(if $(filter $(shell uname -m)-%,$(shell $(CC) -dumpmachine)),-march=native)
ifeq ($(CONFIG),tsan) # no target_clones: their resolvers run before the sanitizer is ready
  EXAMPLE_CFLAGS ?= -O0
endif
EXAMPLE_CFLAGS ?= $(if $(filter release,$(CONFIG)),-O3 $(NATIVE)) -Wno-pass-failed

# check-resume and check-crash make many runs with one thread each: nothing for the thread sanitizer, in an hour.
PROGRAM_STEPS := check-examples check-pretrain
ifneq ($(filter release debug asan,$(CONFIG)),) # the address sanitizer goes with no other
  PROGRAM_STEPS += check-readme-c
endif
ifneq ($(CONFIG),tsan)
  PROGRAM_STEPS += check-init check-run check-resume check-crash check-study
endif

.PHONY: examples pretrain demo study study-report study-texts bench bench-plot bench-torch check-examples check-readme-c check-pretrain \
        check-crash check-resume check-init check-run check-study check-transformers

LINK_PROGRAM = $(CC) $(ALL_CFLAGS) $(EXAMPLE_CFLAGS) $(filter %.o %.a,$^) $(ALL_LDFLAGS) \
               $(LDLIBS) -o $@

$(B)/examples/%.o: examples/%.c | $(FIRST)
	@mkdir -p $(@D)
	@echo CC $<
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(EXAMPLE_CFLAGS) -MMD -MP -c $< -o $@

$(EXAMPLES): %: %.o $(B)/librelora.a
	@echo LD $@
	$(Q)$(LINK_PROGRAM)

# With MPI, if pkg-config knows one (MPI=0 leaves it out): it is asked when the recipe runs, after `make deps`.
MPI          ?= $(shell for p in mpi-c ompi-c mpich; do $(PKG_CONFIG) --exists $$p 2> /dev/null && echo $$p && break; done)
MPI_NAME      = $(filter-out 0,$(MPI))
MPI_LIBS      = $(if $(MPI_NAME),$(shell $(PKG_CONFIG) --libs $(MPI_NAME)))
PRETRAIN_MPI := $(B)/examples/pretrain/mpi/ranks_mpi.o
$(PRETRAIN_MPI): $(B)/made-with-mpi-$(or $(MPI_NAME),none)
$(B)/made-with-mpi-%:
	@mkdir -p $(@D)
	$(Q)$(RM) $(B)/made-with-mpi-* && touch $@
$(PRETRAIN_MPI): EXAMPLE_CFLAGS += $(if $(MPI_NAME),-DPRETRAIN_MPI $(shell $(PKG_CONFIG) --cflags $(MPI_NAME)))

$(B)/pretrain: $(PRETRAIN) $(PRETRAIN_MPI) $(B)/librelora.a
	@echo LD $@
	$(Q)$(LINK_PROGRAM) $(CUDART) $(MPI_LIBS)

$(B)/bench: $(BENCH) $(B)/librelora.a
	@echo LD $@
	$(Q)$(LINK_PROGRAM)

## examples: the small programs of examples/
examples: $(EXAMPLES)

## pretrain: the program of examples/pretrain, which trains a language model
pretrain: $(B)/pretrain

## demo: train a small language model here and now, and plot it as demo.png; RECIPE=paper trains as published
demo: $(B)/pretrain | $(FIRST)
	@examples/pretrain/demo.sh $(B)/pretrain demo.png $(if $(RECIPE),--recipe $(RECIPE))

## study: compare full rank, LoRA and ReLoRA, write docs/results.md; QUICK=1 takes ten minutes and writes build/quick/results.md
STUDY := examples/study
ifeq ($(QUICK),1)
  STUDY_RUNS := build/quick/runs.jsonl build/quick/results.md --quick
else
  STUDY_RUNS := $(STUDY)/runs.jsonl docs/results.md
endif
study: $(B)/pretrain | $(FIRST)
	@$(PYTHON) $(STUDY)/study.py $(B)/pretrain $(if $(filter 1,$(QUICK)),build/quick,build/study) $(STUDY_RUNS) \
	  $(if $(JOBS),--jobs $(JOBS))

## study-report: the same page, from the runs that are recorded already
study-report:
	@$(PYTHON) $(STUDY)/report.py $(STUDY_RUNS)

## study-texts: fetch the texts of its larger nets and of its fine-tuning into build/study, 60 MB
study-texts:
	@$(PYTHON) $(STUDY)/fetch.py build/study

## bench: measure the library here, write bench.json; BENCH_ARGS=--help shows its options
bench: $(B)/bench $(B)/pretrain | $(FIRST)
	@$(B)/bench --json bench.json --pretrain $(B)/pretrain $(BENCH_ARGS)

## bench-plot: draw bench.json, and bench-torch.json if it is there, as bench.png
bench-plot:
	$(Q)test -f bench.json || { echo "bench.json is made by 'make bench'"; exit 1; }
	$(Q)gnuplot -c examples/bench/bench.gp . bench.png

## bench-torch: the same layers, model and optimizer in PyTorch, in turn with this library, if PYTHON has torch; TORCH_ARGS=--help
bench-torch: $(SO) $(B)/pretrain | $(FIRST)
	$(Q)if $(PYTHON) -c 'import torch' 2> /dev/null; \
	  then $(PYTHON) test/bench/torch_relora.py . $(SO) $(B)/pretrain bench-torch.json $(TORCH_ARGS); \
	  else echo "bench-torch: $(PYTHON) has no torch; PYTHON=... names one that has"; fi

-include $(PRETRAIN:.o=.d) $(PRETRAIN_MPI:.o=.d) $(BENCH:.o=.d) $(EXAMPLES:=.d)

# ---- their tests ----
## check-examples: run the small programs of examples/
check-examples: $(EXAMPLES)
	$(Q)for e in $(EXAMPLES); do echo $$e && $$e > $$e.log || exit 1; done

## check-readme-c: the C of README.md, compiled and run under the address sanitizer
check-readme-c: $(B)/librelora.a
	$(Q)sh test/readme.sh "$(CC)" $(B)/readme $< $(filter -fopenmp%,$(ALL_CFLAGS)) $(LDLIBS)

## check-pretrain: eight steps of the program of examples/pretrain, with two restarts
check-pretrain: $(B)/pretrain
	$(Q)cat $(HEADERS) > $(B)/text
	$(Q)$(B)/pretrain --data $(B)/text --out $(B)/out --steps 8 --warm-start 2 --restarts 2 --seq 32 \
	  --batch 2 --accumulate 1 --eval-batches 1 --sample 20 > $(B)/pretrain.log 2>&1 \
	  || { cat $(B)/pretrain.log; exit 1; }
	$(Q)grep 'restarts=2' $(B)/out/summary.txt

## check-run: signals, folders, data, terminals, processors and command lines, as the program of examples/pretrain meets them
check-run: $(B)/pretrain
	$(Q)$(PYTHON) test/pretrain/check.py $< $(RUN_TESTS)

## check-study: examples/study in small: its plan, its statistics, and tiny runs, killed and gone on with
check-study: $(B)/pretrain
	$(Q)$(PYTHON) test/study.py $<

## check-crash: kill the program of examples/pretrain CRASHES times while it trains and saves, and resume it
CRASHES ?= 10
check-crash: $(B)/pretrain
	$(Q)bash test/crash.sh $(B)/pretrain $(CRASHES)

## check-resume: go on from checkpoints of every method and type, and ask for the same bits
check-resume: $(B)/pretrain
	$(Q)bash test/resume.sh $(B)/pretrain

## check-init: --init of the program of examples/pretrain: Llama folders of every form, and what is refused
check-init: $(B)/pretrain
	$(Q)$(PYTHON) test/init.py $<

## check-transformers: logits of small models exported, and of Llama folders of every form, beside Hugging Face's; PYTHON must have it
$(B)/logits: $(B)/test/transformers/logits.o $(filter-out %/main.o,$(PRETRAIN)) $(B)/librelora.a
	@echo LD $@
	$(Q)$(LINK_PROGRAM)
check-transformers: $(B)/pretrain $(B)/logits
	$(Q)for d in f32 bf16; do $(B)/pretrain --data README.md --dtype $$d --steps 24 --warm-start 4 --restarts 1 \
	  --seq 96 --batch 4 --sample 0 --out $(B)/out --export $(B)/exported-$$d > $(B)/output || exit 1; done
	$(Q)mkdir -p $(B)/transformers
	$(Q)$(PYTHON) test/transformers/compare.py $(B)/logits $(B)/pretrain $(B)/transformers $(B)/exported-f32 $(B)/exported-bf16
