# Fuzzing: test/fuzz/NAME.c is a target; its corpus is replayed by `make check`.
.PHONY: check-fuzz
FUZZ_TIME ?= 60
FUZZ_CC   ?= clang
FUZZERS   := api safetensors tokens
FUZZ_LIB  := $(filter-out src/cpu/%onednn.c src/cpu/cpu_gemm_blas.c,$(SRCS)) # a replay takes $(OBJS) in its place
FUZZ_SRCS_api         := $(sort $(wildcard test/fuzz/api_*.c)) $(FUZZ_LIB)
FUZZ_SRCS_safetensors := $(FUZZ_LIB)
FUZZ_SRCS_tokens      := $(patsubst %,examples/pretrain/%.c,data kind lines shards source stop)
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
