//! The program: hands the command line to [`db_pool_exporter::cli`] and ends with its code.

fn main() -> std::process::ExitCode {
    db_pool_exporter::cli::main()
}
