# libpartita.so and what find_package(Partita) needs. On with -DPARTITA_BUILD_SHARED=ON.
if(PARTITA_BUILD_SHARED)
  include(GNUInstallDirs)
  set(PARTITA_ROOMS base memory block observe expression storage dataset pipeline plan compile schedule runs operator exchange
      execute engine session image python_steps components)
  list(TRANSFORM PARTITA_ROOMS PREPEND partita_ OUTPUT_VARIABLE room_targets)
  set(room_files ${room_targets})
  list(TRANSFORM room_files REPLACE "(.+)" "$<TARGET_FILE:\\1>")
  file(WRITE ${CMAKE_BINARY_DIR}/partita_shared.cc "// libpartita.so is made of the rooms' archives.\n")
  add_library(partita_shared SHARED ${CMAKE_BINARY_DIR}/partita_shared.cc)
  set_target_properties(partita_shared PROPERTIES OUTPUT_NAME partita VERSION ${PARTITA_VERSION} SOVERSION 0
    INSTALL_RPATH "${PARTITA_ARROW_LIBDIR}")
  add_dependencies(partita_shared ${room_targets})
  # The archives whole (foreign programs use any of it), then what they need.
  target_link_libraries(partita_shared PRIVATE -Wl,--whole-archive ${room_files} -Wl,--no-whole-archive
    Partita::arrow Partita::nettle Threads::Threads Partita::yaml Partita::curl JPEG::JPEG PNG::PNG Partita::webp)

  install(TARGETS partita_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/partita ${PROJECT_SOURCE_DIR}/components DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
          FILES_MATCHING PATTERN "*.h")
  install(FILES ${PROJECT_SOURCE_DIR}/cmake/PartitaConfig.cmake ${PROJECT_SOURCE_DIR}/cmake/FindPartitaArrow.cmake
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Partita)
endif()
