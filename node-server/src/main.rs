//! The Slotkeeper node.

fn main() -> std::process::ExitCode {
    node_server::start::main()
}
