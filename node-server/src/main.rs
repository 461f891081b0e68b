//! The Slotkeeper node.

/// Size classes close to each other and little kept beside them: what keys cost is counted by `engine`'s `size_class`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    node_server::start::main()
}
