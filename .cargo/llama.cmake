# Read by the build of llama.cpp after each `project()`. Its binding asks for llama.cpp's command-line helpers (argument parsing, chat
# templates, grammars) and offers no feature to leave them out; nothing here calls them, and they cost two minutes of every first build.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "" FORCE)
# The graphs of a hundred model architectures are built here and computed by ggml, which keeps its -O3.
if(PROJECT_NAME STREQUAL "llama.cpp")
    cmake_language(DEFER CALL target_compile_options llama PRIVATE -O1)
endif()
