# Finds Arrow C++ and Parquet and defines the target Partita::arrow.
#
# 1. PARTITA_ARROW_FROM=pyarrow (default where Python has pyarrow): headers and libraries of the pyarrow wheel, so that the
#    Python module shares them in the process. Python is the one a wheel is built for (scikit-build-core gives
#    Python_EXECUTABLE), else PARTITA_PYTHON, else .venv/bin/python, else python3.
# 2. PARTITA_ARROW_FROM=system: an installed Arrow, found by its own CMake packages.
set(PARTITA_ARROW_FROM "pyarrow" CACHE STRING "Where Arrow C++ comes from: pyarrow or system")
set(PARTITA_ARROW_MAJOR 26)

if(PARTITA_ARROW_FROM STREQUAL "pyarrow")
  if(SKBUILD AND Python_EXECUTABLE)
    # Of this configuration alone: the build environment of a wheel is gone with the next one.
    set(PARTITA_PYTHON "${Python_EXECUTABLE}")
  elseif(NOT PARTITA_PYTHON)
    if(EXISTS "${PROJECT_SOURCE_DIR}/.venv/bin/python")
      set(PARTITA_PYTHON "${PROJECT_SOURCE_DIR}/.venv/bin/python")
    else()
      find_program(PARTITA_PYTHON python3)
    endif()
  endif()
  execute_process(
    COMMAND ${PARTITA_PYTHON} -c "import pyarrow as p; print(p.get_include()); print(p.get_library_dirs()[0]); print(p.__version__)"
    OUTPUT_VARIABLE _pyarrow RESULT_VARIABLE _pyarrow_failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(_pyarrow_failed)
    message(FATAL_ERROR "No pyarrow in ${PARTITA_PYTHON}. Run tools/setup.sh, or pass -DPARTITA_ARROW_FROM=system.")
  endif()
  string(REPLACE "\n" ";" _pyarrow "${_pyarrow}")
  list(GET _pyarrow 0 _include)
  list(GET _pyarrow 1 _libdir)
  list(GET _pyarrow 2 PARTITA_ARROW_VERSION)
  if(NOT PARTITA_ARROW_VERSION MATCHES "^${PARTITA_ARROW_MAJOR}\\.")
    message(FATAL_ERROR "Partita is built against Arrow ${PARTITA_ARROW_MAJOR}; pyarrow is ${PARTITA_ARROW_VERSION}")
  endif()
  set(_so "so.${PARTITA_ARROW_MAJOR}00")
  add_library(Partita::arrow INTERFACE IMPORTED GLOBAL)
  set_target_properties(Partita::arrow PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_include}")
  target_link_libraries(Partita::arrow INTERFACE "${_libdir}/libarrow.${_so}" "${_libdir}/libparquet.${_so}" "${_libdir}/libarrow_compute.${_so}")
  set(PARTITA_ARROW_LIBDIR "${_libdir}")
else()
  find_package(Arrow ${PARTITA_ARROW_MAJOR} REQUIRED)
  find_package(Parquet ${PARTITA_ARROW_MAJOR} REQUIRED)
  find_package(ArrowCompute ${PARTITA_ARROW_MAJOR} REQUIRED)
  add_library(Partita::arrow INTERFACE IMPORTED GLOBAL)
  target_link_libraries(Partita::arrow INTERFACE Arrow::arrow_shared Parquet::parquet_shared ArrowCompute::arrow_compute_shared)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(PartitaArrow REQUIRED_VARS PARTITA_ARROW_FROM)
