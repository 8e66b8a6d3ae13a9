# partita_trim_arrow(<target>): the program runs with a copy of Arrow's libraries that starts faster
# (cmake/trim_arrow.py, docs/decisions/0010-start-up.md). In the build tree only: what is installed finds pyarrow's own.
option(PARTITA_TRIM_ARROW "Run the partita command of the build tree with a copy of Arrow that starts faster" ON)

function(partita_trim_arrow target)
  if(NOT PARTITA_TRIM_ARROW OR PARTITA_SANITIZE OR SKBUILD OR NOT PARTITA_ARROW_FROM STREQUAL "pyarrow"
     OR NOT CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    return()
  endif()
  set(script ${PROJECT_SOURCE_DIR}/cmake/trim_arrow.py)
  set(folder ${CMAKE_BINARY_DIR}/arrow)
  get_target_property(libraries Partita::arrow INTERFACE_LINK_LIBRARIES)
  set(copies ${libraries})
  list(TRANSFORM copies REPLACE ".*/" "${folder}/")
  add_custom_command(OUTPUT ${copies} COMMAND ${PARTITA_PYTHON} ${script} ${folder} ${libraries}
                     DEPENDS ${script} ${libraries} COMMENT "Trimming Arrow's libraries" VERBATIM)
  add_custom_target(${target}_arrow DEPENDS ${copies})
  # Loaded where credentials for S3 are looked for (partita/storage/s3/credentials.cc), as it is.
  list(GET libraries 0 library)
  get_filename_component(from ${library} DIRECTORY)
  file(GLOB s3 ${from}/libarrow_s3.so.*)
  foreach(library ${s3})
    get_filename_component(name ${library} NAME)
    file(MAKE_DIRECTORY ${folder})
    file(CREATE_LINK ${library} ${folder}/${name} SYMBOLIC)
  endforeach()
  add_dependencies(${target} ${target}_arrow)
  # This folder alone: each library is looked for in each folder of the path.
  set_target_properties(${target} PROPERTIES BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH ${folder})
endfunction()
