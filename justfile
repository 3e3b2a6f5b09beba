# Short names for the scripts in .ci, which do the work: `just` itself is not needed.

# List the recipes
default:
    @just --list

# Compile everything without running it
check *ARGS:
    cargo check --all-targets --all-features {{ARGS}}

# Everything that must pass; arguments choose tests by name
test *ARGS:
    .ci/test {{ARGS}}

# Formatting, clippy, licences, scripts
lint:
    .ci/lint

# The benchmarks
bench *ARGS:
    .ci/bench {{ARGS}}

# The whole system on this machine; `just demo --once` ends by itself
demo *ARGS:
    .ci/demo {{ARGS}}
