# Writes OUT, a header that names the commit of SOURCE; leaves it alone where it says so already.
set(commit unknown)
find_package(Git QUIET)
if(GIT_FOUND AND EXISTS "${SOURCE}/.git")
  set(ENV{GIT_OPTIONAL_LOCKS} 0)
  execute_process(COMMAND "${GIT_EXECUTABLE}" -c safe.directory=* -C "${SOURCE}" describe --always --dirty
                          --abbrev=12 --exclude=*
                  OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(commit "${described}")
  endif()
endif()
file(CONFIGURE OUTPUT "${OUT}" CONTENT "#define WHITTLE_COMMIT \"${commit}\"\n")
