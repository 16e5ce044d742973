# librelora. One make, not recursive: this file builds the library, and includes the rest by folder. `make help` lists
# the targets.

# ---- settings: any of these can be given on the command line ----
PKG_CONFIG ?= pkg-config
INSTALL    ?= install
OBJCOPY    ?= $(shell $(CC) -print-prog-name=objcopy)
NM         ?= nm
PYTHON     ?= python3
CONFIG     ?= release
ONEDNN     ?= 1
BLAS       ?=
OPENMP     ?= 1
STATIC     ?= 1
WERROR     ?= 0
# Where to install. PREFIX, LIBDIR and INCLUDEDIR are taken as well.
prefix     ?= $(or $(PREFIX),/usr/local)
libdir     ?= $(or $(LIBDIR),$(prefix)/lib)
includedir ?= $(or $(INCLUDEDIR),$(prefix)/include)
Q          := $(if $(filter 1,$(V)),,@)

# Names of a BLAS for pkg-config: MKL without threads of its own. And for the linker, where there is no such name.
BLAS_PC              = $(or $(BLAS_PC_$(BLAS)),$(BLAS))
BLAS_PC_mkl         := mkl-dynamic-lp64-seq
BLAS_LIBS_openblas  := -lopenblas
BLAS_LIBS_blis      := -lblis
BLAS_LIBS_mkl       := -lmkl_intel_lp64 -lmkl_sequential -lmkl_core
BLAS_LIBS_accelerate := -framework Accelerate

# Debian packages: to build and install; for the tests; for the demonstration.
DEPS := gcc g++ make pkg-config libdnnl-dev libjansson-dev libxxhash-dev \
        check python3 abigail-tools locales libopenmpi-dev openmpi-bin \
        gnuplot-nox bible-kjv

# Toolchains of other languages and package managers; `make deps-bindings` installs them. What is not here is skipped.
BINDING_DEPS := rustc cargo golang-go cmake debhelper lintian gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
                python3-pip python3-setuptools python3-wheel python3-venv

# A BLAS, for BLAS=openblas or blis and check-blas. What check-aarch64 and check-musl need beside test/aarch64.sh and
# test/musl.sh.
BLAS_DEPS    := libopenblas-dev libblis-dev
AARCH64_DEPS := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
MUSL_DEPS    := musl-tools cmake

# For lint, check-long and fuzzing; `make deps-dev` installs them.
DEV_DEPS := clang libclang-rt-dev clang-tidy clang-format cppcheck valgrind

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
endif
ifeq ($(OPENMP),0) # and none with oneDNN, which asks OpenMP for its threads
  override ONEDNN := 0
endif
ifneq ($(BLAS),) # in place of oneDNN; pkg-config knows where, or the linker does
  ifeq ($(filter openblas blis mkl accelerate,$(BLAS)),)
    $(error BLAS=$(BLAS) is not one of openblas blis mkl accelerate)
  endif
  override ONEDNN := 0
  BLAS_PACKAGE := $(shell $(PKG_CONFIG) --exists $(BLAS_PC) 2> /dev/null && echo $(BLAS_PC))
  BLAS_CFLAGS  := -DRELORA_BLAS=$(BLAS) -DRELORA_BLAS_$(BLAS) $(if $(BLAS_PACKAGE),$(shell $(PKG_CONFIG) --cflags $(BLAS_PACKAGE)))
  BLAS_LDFLAGS := $(if $(BLAS_PACKAGE),$(shell $(PKG_CONFIG) --libs-only-L $(BLAS_PACKAGE)))
  BLAS_LIBS    := $(if $(BLAS_PACKAGE),$(shell $(PKG_CONFIG) --libs-only-l $(BLAS_PACKAGE)),$(BLAS_LIBS_$(BLAS)))
endif
PARALLEL := $(if $(filter-out 0,$(OPENMP)),-fopenmp,-Wno-unknown-pragmas -Wno-unused-function -pthread)
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
        -Wpointer-arith -Wcast-qual -Wwrite-strings -Wdouble-promotion $(if $(filter 1,$(WERROR)),-Werror)
ALL_CPPFLAGS = -Iinclude -D_POSIX_C_SOURCE=200809L $(CPPFLAGS)
ALL_CFLAGS   = -std=c11 $(WARN) $(CFLAGS_$(CONFIG)) $(PARALLEL) $(CFLAGS)
ALL_LDFLAGS  = -Wl,-z,noexecstack -Wl,--as-needed $(BLAS_LDFLAGS) $(LDFLAGS)
LDLIBS       = $(if $(filter 1,$(ONEDNN)),-ldnnl) $(BLAS_LIBS) -ljansson -lm -ldl

# The library: bits must not depend on whether a compiler fuses a * b + c. The two after that let it
# vectorise sqrtf() and comparisons, and change no bit.
LIB_CPPFLAGS = -Isrc -DRELORA_ONEDNN=$(ONEDNN) $(BLAS_CFLAGS) $(ALL_CPPFLAGS)
LIB_CFLAGS   = -ffp-contract=off -fno-math-errno -fno-trapping-math \
               -fPIC -fvisibility=hidden $(ALL_CFLAGS)
LIB_LDFLAGS  = $(if $(filter asan tsan,$(CONFIG)),,-Wl,-z,defs) -Wl,-soname,librelora.so.$(ABI) \
               -Wl,--no-undefined-version -Wl,--version-script=lib/librelora.map \
               -Wl,-z,nodelete # OpenMP's threads outlive a dlclose(), and return into this code

# ---- files ----
# Configurations, and compilers other than gcc, have folders of their own, so objects never mix.
B    := build/$(CONFIG)$(if $(BLAS),-$(BLAS),$(if $(filter 0,$(ONEDNN)),-portable))$(if $(filter tsan,$(CONFIG)),,$(if $(filter-out 0,$(OPENMP)),,-threads))
B    := $(B)$(patsubst %,-%,$(filter-out cc gcc,$(notdir $(lastword $(CC)))))
SRCS := $(sort $(wildcard src/*.c src/cpu/*.c))
ifeq ($(ONEDNN),0)
  SRCS := $(filter-out src/cpu/%onednn.c,$(SRCS))
endif
ifeq ($(BLAS),)
  SRCS := $(filter-out src/cpu/cpu_gemm_blas.c,$(SRCS))
endif
OBJS     := $(SRCS:%.c=$(B)/%.o)
ADAPTERS := include/relora/comm_mpi.h include/relora/comm_nccl.h # for hosts with these libraries; not part of the interface
HEADERS  := $(sort $(filter-out $(ADAPTERS),$(wildcard include/relora/*.h)))
SO       := $(B)/librelora.so.$(VERSION)
ARCHIVE  := $(if $(filter-out 0,$(STATIC)),$(B)/librelora.a)
BUILT    := $(SO) $(ARCHIVE)
FIRST    := $(filter deps deps-%,$(MAKECMDGOALS)) # `make -j2 deps check`: nothing starts before it is done

, := ,
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all lib check everything deps deps-dev deps-bindings deps-blas deps-cross deps-aarch64 deps-libc deps-musl install uninstall \
        clean help check-install
all: lib

# ---- the library ----
## lib: librelora.so*, librelora.a, relora.pc and, with CUDA=1, librelora_cuda.so.0; a release build is copied to lib/
lib: $(BUILT)
ifeq ($(CONFIG),release)
	$(Q)cp -Pp --remove-destination $(BUILT) $(B)/librelora.so.$(ABI) $(B)/librelora.so $(MODULE) lib
endif

$(SO): $(OBJS) lib/librelora.map
	@echo LD $@
	$(Q)$(CC) -shared $(LIB_CFLAGS) $(OBJS) $(ALL_LDFLAGS) $(LIB_LDFLAGS) $(LDLIBS) -o $@
	$(Q)ln -sf $(@F) $(B)/librelora.so.$(ABI)
	$(Q)ln -sf librelora.so.$(ABI) $(B)/librelora.so

# One object whose inner names are made local, so that they cannot collide with those of a program. With -flto gcc
# has to be told to make machine code of it.
$(B)/librelora.a: $(OBJS)
	@echo AR $@
	$(Q)nolto=; if $(CC) -v 2>&1 | grep -q '^gcc version'; then nolto=-flinker-output=nolto-rel; fi; \
	  $(CC) $(CFLAGS) $$nolto -r -nostdlib $^ -o $(B)/librelora.o
	$(Q)$(OBJCOPY) --localize-hidden $(B)/librelora.o
	$(Q)$(RM) $@ && $(AR) rcs $@ $(B)/librelora.o

$(B)/src/%.o: src/%.c Makefile | $(B)/target $(FIRST)
	@mkdir -p $(@D)
	@echo CC $<
	$(Q)$(CC) $(LIB_CPPFLAGS) $(LIB_CFLAGS) -MMD -MP -c $< -o $@

# Sums of products, where it may be fused: each is written as such, and the order is in the source.
$(B)/src/cpu/cpu_gemm_own.o: LIB_CFLAGS += -ffp-contract=fast

-include $(OBJS:.o=.d)

# ---- the rest, by folder ----
include examples/examples.mk
include cuda/cuda.mk
include test/test.mk
include test/fuzz/fuzz.mk
include test/cuda/cuda.mk
include test/cuda/emulator/emulator.mk
include pkgconfig/package.mk
include examples/bindings.mk

# ---- all tests ----
# A library with a sanitizer runs only in programs built with it, so it is not worth installing.
ifneq ($(filter release debug,$(CONFIG)),)
  INSTALL_STEPS := check-install check-packages
endif
STEPS := check-headers symbols $(ABI_STEPS) $(SUITES:%=check-%) check-mpi $(BLAS_STEPS) check-module check-unload check-system-memory check-fuzz \
         $(PROGRAM_STEPS) $(INSTALL_STEPS) $(BINDING_STEPS) $(MODULE_STEPS) $(CUDA_STEPS) check-emulator $(EMULATED_STEPS)

## check: every test, to the end even if one fails; the last line counts them
check: $(BUILT) | $(FIRST)
	@MAKE="$(MAKE)" sh test/run.sh $(STEPS)

## everything: build the library, its tests and all programs, and run none
everything: $(BUILT) $(EXAMPLES) $(B)/pretrain $(B)/bench $(SUITES:%=$(B)/test-%) $(FUZZERS:%=$(B)/replay-%)

# ---- packages, cleaning, help ----
## deps: install the Debian packages that building, testing and the demonstration need
## deps-dev deps-bindings: those of checkers; those of the other languages and of packaging
## deps-blas deps-aarch64 deps-musl: those of check-blas; of check-aarch64; of check-musl
deps:          WANTED = $(DEPS)
deps-dev:      WANTED = $(DEV_DEPS)
deps-bindings: WANTED = $(BINDING_DEPS)
deps-blas:     WANTED = $(BLAS_DEPS)
deps-cross:    WANTED = $(AARCH64_DEPS)
deps-libc:     WANTED = $(MUSL_DEPS)
deps-aarch64: deps-cross
	@sh test/aarch64.sh deps
deps-musl: deps-libc
	@sh test/musl.sh deps
deps-bindings: | $(filter deps,$(FIRST))
deps-dev:      | $(filter deps deps-bindings,$(FIRST))
deps-blas:     | $(filter deps deps-bindings deps-dev,$(FIRST))
deps-cross:    | $(filter deps deps-bindings deps-dev deps-blas,$(FIRST))
deps-libc:     | $(filter deps deps-bindings deps-dev deps-blas deps-aarch64,$(FIRST)) # apt-get runs once at a time
deps deps-dev deps-bindings deps-blas deps-cross deps-libc:
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

## clean: remove build/ and what make put into lib/
clean:
	$(Q)$(RM) -r build lib/librelora.so* lib/librelora.a lib/librelora_cuda.so*

## help: this list
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST) | sort | awk -F': ' '{printf "  %-15s %s\n", $$1, $$2}'
