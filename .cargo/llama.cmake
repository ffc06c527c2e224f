# Read by the build of llama.cpp after each `project()`. Its binding asks for llama.cpp's command-line helpers (argument parsing, chat
# templates, grammars) and offers no feature to leave them out; nothing here calls them, and they cost two minutes of every first build.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "" FORCE)
