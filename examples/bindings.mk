# Bindings to other languages: what is written from the headers, the trainer of examples/train.md in each of them, and
# the same tests with a library that is broken. A language whose toolchain is not here is counted as skipped.
CARGO  ?= cargo
GO     ?= go
JULIA  ?= julia
BINDING_STEPS := $(if $(filter release debug,$(CONFIG)),check-bindings check-first-lines check-cpp check-rust check-go check-julia check-pip)

.PHONY: bindings check-bindings check-first-lines check-cpp check-rust check-go check-julia check-pip wheel check-wheel

## bindings: write the constants, structs and signatures of each language from the headers; to be committed
bindings:
	$(Q)$(PYTHON) examples/bindings.py write .

## check-bindings: what was written is what the headers say, and each language reaches each function
check-bindings: | $(FIRST)
	$(Q)$(PYTHON) examples/bindings.py check .

# A library whose optimizer takes a slightly larger step than it says: every trainer must notice.
BROKEN := $(B)/broken/librelora.so.$(ABI)
$(B)/broken/adam_step.o: test/bindings/broken.c src/adam_step.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(LIB_CPPFLAGS) $(LIB_CFLAGS) -c $< -o $@
$(BROKEN): $(B)/broken/adam_step.o $(OBJS) lib/librelora.map
	$(Q)$(CC) -shared $(LIB_CFLAGS) $< $(filter-out %/src/adam_step.o,$(OBJS)) $(ALL_LDFLAGS) $(LIB_LDFLAGS) $(LDLIBS) -o $@
	$(Q)ln -sf $(@F) $(@D)/librelora.so

# The library as it would be installed, for what asks pkg-config.
BINDING_ENV = LD_LIBRARY_PATH="$(CURDIR)/$(B)" RELORA_LIB_DIR="$(CURDIR)/$(B)" PKG_CONFIG_PATH="$(CURDIR)/$(B)/here" \
              RELORA_LIBRARY="$(CURDIR)/$(SO)" RELORA_BROKEN="$(CURDIR)/$(BROKEN)" PKG_CONFIG="$(PKG_CONFIG)"
$(B)/here/relora.pc: pkgconfig/relora.pc.in
	@mkdir -p $(@D)
	$(Q)printf '%s\n' 'Name: relora' 'Description: as built' 'Version: $(VERSION)' \
	  'Libs: -L"$(CURDIR)/$(B)" -lrelora' 'Cflags: -I"$(CURDIR)/include"' > $@

## check-first-lines: the first lines of each language, as README.md has them
check-first-lines: $(SO) $(B)/here/relora.pc | $(FIRST)
	$(Q)$(BINDING_ENV) CC="$(CC)" CXX="$(CXX)" CARGO="$(CARGO)" GO="$(GO)" JULIA="$(JULIA)" PYTHON="$(PYTHON)" \
	  CARGO_TARGET_DIR="$(CURDIR)/$(B)/rust-readme" $(PYTHON) test/bindings/readme.py "$(B)"

## check-cpp: the trainer in C++, with relora.hpp, by gcc and by clang if it is here
check-cpp: $(SO) $(BROKEN) | $(FIRST)
	$(Q)$(BINDING_ENV) CXX="$(CXX)" sh test/bindings/cpp.sh "$(B)"

## check-rust: cargo test of examples/rust, with and without a broken library
check-rust: $(SO) $(BROKEN) | $(FIRST)
	$(Q)$(BINDING_ENV) CARGO="$(CARGO)" sh test/bindings/rust.sh "$(CURDIR)/$(B)"

## check-go: go vet and go test of examples/go, with and without a broken library
check-go: $(SO) $(BROKEN) $(B)/here/relora.pc | $(FIRST)
	$(Q)$(BINDING_ENV) GO="$(GO)" sh test/bindings/go.sh "$(CURDIR)/$(B)"

## check-julia: the tests of examples/julia; without a julia, what its files say is compared with the headers
check-julia: $(SO) $(BROKEN) | $(FIRST)
	$(Q)$(BINDING_ENV) JULIA="$(JULIA)" PYTHON="$(PYTHON)" sh test/bindings/julia.sh

## check-pip: the tests of examples/python, and the package installed by pip and carried by a wheel
check-pip: $(SO) $(BROKEN) | $(FIRST)
	$(Q)$(BINDING_ENV) PYTHON="$(PYTHON)" VERSION=$(VERSION) MAKE="$(MAKE)" sh test/bindings/pip.sh "$(CURDIR)/$(B)"

## wheel: a Python wheel in build/wheel that carries librelora.so and the libraries it needs
wheel: $(OBJS) lib/librelora.map | $(FIRST)
	$(Q)CC="$(CC)" PYTHON="$(PYTHON)" sh examples/python/wheel.sh "$(B)" '$(LIB_CFLAGS) $(OBJS) $(ALL_LDFLAGS) $(LIB_LDFLAGS) $(LDLIBS)'
