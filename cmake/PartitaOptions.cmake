# Compiler flags, launcher and linker that all targets share.
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
# Of the tests' own code, which nobody waits for: it is a quarter of all that CI compiles. -O0 helps only where sanitizers are compiled in.
set(PARTITA_TEST_OPTIONS -O1)
if(PARTITA_SANITIZE)
  set(PARTITA_TEST_OPTIONS -O0)
endif()

find_program(PARTITA_CCACHE ccache)
if(PARTITA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Precompiled headers need these two sloppiness settings; see the ccache manual.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${PARTITA_CCACHE})
endif()
find_program(PARTITA_MOLD mold)
if(PARTITA_MOLD AND NOT PARTITA_SANITIZE)
  add_link_options(-fuse-ld=mold)
  # Before 2.4 it counts .tbss as read-only memory: a program where that begins at the end of a page cannot be loaded
  # (mold issue 1151).
  execute_process(COMMAND ${PARTITA_MOLD} --version OUTPUT_VARIABLE PARTITA_MOLD_VERSION)
  string(REGEX MATCH "[0-9]+(\\.[0-9]+)+" PARTITA_MOLD_VERSION "${PARTITA_MOLD_VERSION}")
  if(PARTITA_MOLD_VERSION VERSION_LESS 2.4)
    add_link_options(-Wl,-z,norelro)
  endif()
endif()

add_compile_options(-Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -ffp-contract=off -fdiagnostics-color=auto)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-fpch-preprocess)
endif()
if(PARTITA_SANITIZE)
  add_compile_options(-fsanitize=${PARTITA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${PARTITA_SANITIZE})
endif()
