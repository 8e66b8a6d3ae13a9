# Filled with the shared library and find_package(Partita).
