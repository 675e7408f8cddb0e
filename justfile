# Short names for what .ci/run does step by step. `just` lists them.

_default:
    @just --list

# formatting and lints
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings

# everything that needs only cargo; ARGS as for cargo test
test *ARGS:
    cargo test {{ARGS}}

# lock-free code over every order of its steps
loom *ARGS:
    scripts/loom.sh {{ARGS}}

# micro-benchmarks; ARGS as for cargo bench
bench *ARGS:
    cargo bench {{ARGS}}

# all of it, with other people's programs
ci *ARGS:
    .ci/run {{ARGS}}
