# The tests of the library and the checkers.
SUITES := $(filter-out cuda,$(sort $(patsubst test/%/main.c,%,$(wildcard test/*/main.c))))

.PHONY: check-headers symbols check-system-memory check-long

# ---- tests: each folder of test/ with a main.c is one Check program, linked with the objects ----
TEST_CFLAGS   = -Wno-double-promotion # which the macros of Check do
# Where there is no pkg-config, what Debian's says.
CHECK_CFLAGS  = $$($(PKG_CONFIG) --cflags check jansson 2> /dev/null)
CHECK_LIBS    = $$($(PKG_CONFIG) --libs check jansson 2> /dev/null || echo -pthread -lcheck_pic -lrt -lm -lsubunit -ljansson)
TEST_CPPFLAGS = -Itest -DRELORA_TEST_DATA='"$(CURDIR)/test"' \
                -DRELORA_TEST_MODULES='"$(CURDIR)/$(B)/modules"' $(LIB_CPPFLAGS)

# Files that are not valid modules, one per folder, and one that presents the CPU as a CUDA device.
MODULES := $(patsubst test/modules/%.c,$(B)/modules/%/librelora_cuda.so.$(ABI),$(wildcard test/modules/*.c)) \
           $(B)/modules/text/librelora_cuda.so.$(ABI)
$(filter-out %/text/librelora_cuda.so.$(ABI),$(MODULES)): $(B)/modules/%/librelora_cuda.so.$(ABI): test/modules/%.c \
    test/modules/fake.h $(wildcard src/*.h) $(filter $(B)/src/cpu/% %/memory.o,$(OBJS))
	@mkdir -p $(@D)
	@echo LD $@
	$(Q)$(CC) -Itest $(LIB_CPPFLAGS) $(LIB_CFLAGS) -shared $(filter %.c %.o,$^) $(ALL_LDFLAGS) $(LDLIBS) -o $@
$(B)/modules/text/librelora_cuda.so.$(ABI):
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

## check-module: where librelora_cuda.so.0 is looked for
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
EXTRA_program := $(EXTRA_train) # and this one the rest of that program
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

-include $(wildcard $(B)/test/*/*.d $(B)/test/*/*/*.d $(B)/emulated/test/*/*.d)

# ---- several processes ----
$(B)/test/ranks/nccl.o: CPPFLAGS += -Itest/mpi/stub # in the place of NCCL's header
## check-mpi: runs of several processes under each MPI that is installed
.PHONY: check-mpi
MPI_OBJECTS := $(patsubst %,$(B)/test/%.o,ranks/world support/ranks support/track)
check-mpi: $(MPI_OBJECTS) $(B)/librelora.a $(B)/pretrain
ifneq ($(filter asan tsan,$(CONFIG)),)
	@echo "left out: an MPI has leaks and races of its own"
else
	$(Q)CC="$(CC)" PKG_CONFIG="$(PKG_CONFIG)" PYTHON="$(PYTHON)" FLAGS="-D_DEFAULT_SOURCE $(TEST_CPPFLAGS) $(ALL_CFLAGS) $(TEST_CFLAGS)" \
	  OBJECTS="$(MPI_OBJECTS) $(B)/librelora.a" LIBS="$(ALL_LDFLAGS) $(LDLIBS) $(CHECK_LIBS)" sh test/mpi/check.sh $(B)
endif

# ---- the interface (docs/abi.md). The headers are the same in every configuration: two are enough to check them ----
.PHONY: check-docs check-ffi check-python abi-check abi-store abi-pins check-breaks check-callers check-growth
ABI_STEPS := check-callers check-growth
ifneq ($(filter release debug,$(CONFIG)),)
  ABI_STEPS := check-docs check-ffi check-python abi-check check-breaks $(ABI_STEPS)
endif

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

## check-growth: add a field to each struct of options, and see old programs and old files go on
check-growth: $(SO)
	$(Q)CC="$(CC)" CALLER_FLAGS="$(WARN) $(CFLAGS_$(CONFIG)) $(CFLAGS) $(LDFLAGS)" \
	  COMPILE="$(CC) $(LIB_CPPFLAGS) $(LIB_CFLAGS)" \
	  LINK="$(CC) -shared $(LIB_CFLAGS) $(ALL_LDFLAGS) $(LIB_LDFLAGS)" LIBS="$(LDLIBS)" \
	  sh test/abi/grow.sh $(CURDIR)/$(B) $(OBJS:%=$(CURDIR)/%)

## check-docs: every file that the documentation names exists
check-docs: | $(FIRST)
	$(Q)$(PYTHON) test/docs.py .

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
ifneq ($(filter asan tsan,$(CONFIG)),)
check-system-memory:
	@echo "left out: the sanitizer has a malloc() of its own"
else
check-system-memory: $(B)/starve
	$(Q)$< $(STARVE)
endif

# ---- headers and symbols ----
## check-headers: each public header alone, as strict C99 and as C++11, and a call of each function
check-headers: | $(FIRST)
	$(Q)for h in $(HEADERS:include/%=%); do \
	  for m in "$(CC) -x c -std=c99" "$(CXX) -x c++ -std=c++11"; do \
	  printf '#include <%s>\nint x;\n' $$h | $$m -pedantic-errors -Wall -Wextra -Wpadded -Werror -Iinclude -fsyntax-only - \
	  || exit 1; done; done
	$(Q)for m in "$(CC) -x c -std=c99" "$(CXX) -x c++ -std=c++11"; do \
	  $(PYTHON) test/headers.py calls include | $$m -pedantic-errors -Wall -Wextra -Wcast-qual -Werror -Iinclude -fsyntax-only - \
	  || exit 1; done

## symbols: what the library exports is what the headers declare
symbols: $(BUILT)
	$(Q)sed -n 's/^RELORA_API .*[ *]\(relora_[a-z0-9_]*\)(.*/\1/p' $(HEADERS) \
	  | LC_ALL=C sort > $(B)/declared
	$(Q)$(NM) -D --defined-only $(SO) \
	  | sed -n 's/.* [BDRTVW] \([^@]*\).*/\1/p' | LC_ALL=C sort > $(B)/exported
	$(if $(ARCHIVE),$(Q)$(NM) -g --defined-only $(ARCHIVE) \
	  | sed -n 's/.* [BDRTVW] //p' | LC_ALL=C sort > $(B)/archived)
	$(Q)test -s $(B)/declared
	$(Q)diff $(B)/declared $(B)/exported
	$(if $(ARCHIVE),$(Q)diff $(B)/declared $(B)/archived)

# ---- checkers: they need deps-dev ----
## check-long: check; the same with the portable product alone, and under the sanitizers; check-valgrind
check-long: | $(FIRST)
	@MAKE="$(MAKE)" sh test/long.sh

## check-blas: the products of the BLAS that are here, openblas and blis: unit gemm, golden, conformance
# What is not here is left out. `make deps-blas` installs both.
.PHONY: check-blas check-aarch64 check-neon check-musl check-clang
check-blas: | $(FIRST)
	$(Q)MAKE="$(MAKE)" CC="$(CC)" PKG_CONFIG="$(PKG_CONFIG)" sh test/blas.sh
ifeq ($(CONFIG)$(ONEDNN),release1) # once is enough
  BLAS_STEPS := check-blas
endif

## check-aarch64: unit, golden, conformance and train for 64-bit ARM, cross-compiled and emulated, after deps-aarch64
check-aarch64: | $(FIRST)
	$(Q)sh test/aarch64.sh check
check-neon: $(B)/src/cpu/cpu_gemm_own.o # 8 rows of 3 vectors, each with a multiply-add of its own
	$(Q)n=$$($$($(CC) -print-prog-name=objdump) -d --disassemble=plain_multiply $< | grep -c 'fmla.*\.4s'); \
	  [ "$$n" -ge 24 ] || { echo "plain_multiply has $$n vector multiply-adds"; exit 1; }

## check-musl: unit, arguments, golden, conformance, train and threads with musl in the place of glibc, after deps-musl
check-musl: | $(FIRST)
	$(Q)sh test/musl.sh check

## check-clang: unit, arguments, golden, conformance, train, threads and the pretraining program by clang, without a warning
PORTED := unit arguments golden conformance train threads run
check-clang: | $(FIRST)
	$(Q)MAKE="$(MAKE) CC=clang CUDA=0 WERROR=1" sh test/run.sh $(PORTED:%=check-%)

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

LINT := lint-includes lint-calls lint-size lint-format lint-cppcheck lint-tidy
.PHONY: lint lint-compilers $(LINT) check-valgrind coverage
## lint: warnings of gcc and clang, clang-tidy, cppcheck, clang-format, include rule, banned calls, what is over its budget
lint: $(OBJS)
	@MAKE="$(MAKE)" sh test/run.sh lint-compilers $(LINT)
lint-compilers:
	$(Q)$(MAKE) --no-print-directory everything CC=gcc
	$(Q)$(MAKE) --no-print-directory everything CC=clang
lint-tidy: export MPI_FLAGS = $(if $(MPI_NAME),$(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags $(MPI_NAME))))
$(LINT): $(OBJS)
	$(Q)FLAGS='-Itest -I$(EMULATOR) -Itest/mpi/stub -DRELORA_TEST_DATA=__FILE__ -DRELORA_TEST_MODULES=__FILE__ $(LIB_CPPFLAGS)' NM=$(NM) sh test/lint/lint.sh $(@:lint-%=%) $(OBJS)

## check-SUITE: one folder of test/, such as check-unit
