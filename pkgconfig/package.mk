# What makes the library a package: relora.pc, the CMake package, install and uninstall, the release archive, .deb.
PACKAGE := $(B)/relora.pc $(B)/reloraConfig.cmake $(B)/reloraConfigVersion.cmake
BINARY_HEADERS := $(HEADERS) $(ADAPTERS) include/relora/relora.hpp

# What a program needs that links librelora.a: by their own names, so that nothing switches OpenMP on in its files.
PRIVATE_LIBS = $(filter-out -ljansson,$(LDLIBS)) \
               $(if $(filter -fopenmp,$(PARALLEL)),$(if $(findstring clang,$(notdir $(CC))),-lomp,-lgomp))

# One line instead of a page of errors. (src/memory.c says the same to other build systems.)
$(B)/target:
	@mkdir -p $(@D)
	$(Q)echo 'char a[sizeof(void *) == 8 ? 1 : -1];' | $(CC) $(CPPFLAGS) $(CFLAGS) -x c -fsyntax-only - 2> /dev/null \
	  || { echo 'librelora needs a compiler for a 64-bit processor: $(CC) $(CFLAGS) is none'; exit 1; }
	$(Q)touch $@

lib: $(PACKAGE)

# They name places relative to themselves where they can, so that an installed tree may be moved.
.PHONY: $(PACKAGE) # must follow prefix, which make cannot see change
$(PACKAGE): $(B)/%: pkgconfig/%.in pkgconfig/fill.sh
	@mkdir -p $(@D)
	$(Q)prefix='$(prefix)' libdir='$(libdir)' includedir='$(includedir)' VERSION=$(VERSION) ABI=$(ABI) \
	  PRIVATE_LIBS='$(strip $(PRIVATE_LIBS))' sh pkgconfig/fill.sh $< > $@

# The module without a run path into the toolkit of this machine.
INSTALLED_MODULE := $(if $(MODULE),$(B)/installed/$(notdir $(MODULE)))

lib_to     = "$(DESTDIR)$(libdir)"
include_to = "$(DESTDIR)$(includedir)"/relora

## install: libraries, headers, relora.pc and the CMake package under $(DESTDIR)$(prefix)
install: $(BUILT) $(PACKAGE) $(INSTALLED_MODULE)
	$(Q)$(INSTALL) -d $(lib_to)/pkgconfig $(lib_to)/cmake/relora $(include_to)
	$(Q)$(INSTALL) -m 755 $(SO) $(lib_to)
	$(Q)ln -sf librelora.so.$(VERSION) $(lib_to)/librelora.so.$(ABI)
	$(Q)ln -sf librelora.so.$(ABI) $(lib_to)/librelora.so
	$(if $(INSTALLED_MODULE),$(Q)$(INSTALL) -m 755 $(INSTALLED_MODULE) $(lib_to))
	$(if $(ARCHIVE),$(Q)$(INSTALL) -m 644 $(ARCHIVE) $(lib_to))
	$(Q)$(INSTALL) -m 644 $(BINARY_HEADERS) $(include_to)
	$(Q)$(INSTALL) -m 644 $(B)/relora.pc $(lib_to)/pkgconfig
	$(Q)$(INSTALL) -m 644 $(filter %.cmake,$(PACKAGE)) $(lib_to)/cmake/relora
	$(if $(DESTDIR),,@echo 'If programs do not find librelora.so.$(ABI): run ldconfig, once, as root; or set LD_LIBRARY_PATH=$(libdir)')
	$(if $(DESTDIR)$(filter /usr /usr/local,$(prefix)),,@echo 'For pkg-config, set PKG_CONFIG_PATH=$(libdir)/pkgconfig; for CMake, CMAKE_PREFIX_PATH=$(prefix)')

## uninstall: remove what install put there
uninstall:
	$(Q)cd $(include_to) 2> /dev/null && $(RM) $(notdir $(BINARY_HEADERS)) || :
	$(Q)cd $(lib_to) 2> /dev/null && $(RM) pkgconfig/relora.pc $(patsubst $(B)/%,cmake/relora/%,$(filter %.cmake,$(PACKAGE))) \
	  $(addprefix librelora,.a .so .so.$(ABI) .so.$(VERSION) _cuda.so.$(ABI) _cuda.so) || :
	$(Q)for d in $(include_to) $(lib_to)/cmake/relora $(lib_to)/cmake; do \
	  [ ! -d "$$d" ] || rmdir --ignore-fail-on-non-empty "$$d"; done

## check-install: install, use it by pkg-config and by CMake, move it, use it once more, uninstall
check-install: $(BUILT) | $(FIRST)
	$(Q)MAKE="$(MAKE)" CC="$(CC)" CXX="$(CXX)" PKG_CONFIG="$(PKG_CONFIG)" STATIC=$(STATIC) sh test/install.sh

# ---- packages ----
DIST := build/librelora-$(VERSION).tar.xz

.PHONY: dist deb check-packages
## dist: the release archive build/librelora-VERSION.tar.xz: what git knows, or else what lies here
dist:
	$(Q)sh pkgconfig/dist.sh librelora-$(VERSION) $(DIST)

## deb: Debian packages in build/deb, from the release archive; lintian looks at them if it is here
deb: dist
	$(Q)NVCC="$(NVCC)" CUDA=$(CUDA) sh pkgconfig/deb.sh $(VERSION) $(DIST)

## check-packages: builds as distributions make them: link-time optimisation, no OpenMP, no archive, other processors
check-packages: | $(FIRST)
	$(Q)MAKE="$(MAKE)" CC="$(CC)" sh test/packages.sh
